"""A sample of a log as columns of strings, whatever its format."""

import collections
import dataclasses
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ctr_keras.features.guessing.frames import ROWS, columns_of, strings, thinned
from pipeline.guessing.dialects import Dialect, guess_dialect, guess_encoding
from pipeline.guessing.files import read_pieces, some_of
from pipeline.parsing.columns import shortened
from pipeline.sources import open_source, partition_columns

_GROUPS = 4  # row groups of a Parquet file that are read
_BEGINNING = 4096  # bytes of a file that tell its format
_ONE_TABLE = "name the files of one table by a pattern, --source 'FOLDER/*.csv'"
_UNIT_SEPARATOR = "\x1f"


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some rows of a log.

    Attributes:
        columns: by name, strings, or lists of strings; null where there is nothing.
        settings: of the section `source:` of the declaration.
        comments: what a reader of the declaration should know.
        is_whole: whether the sample is all there is.
    """

    columns: dict[str, pa.Array]
    settings: dict[str, Any]
    comments: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))


def sample_files(paths: Sequence[str], columns: Sequence[str] = ()) -> Sample:
    """A sample of some of these files, of which delimited ones may be given names of columns.

    Raises:
        ValueError: naming a file that cannot be read, or that does not go with the others.
    """
    chosen = some_of(paths)
    form = _format_of(chosen)
    first = read_pieces(chosen[0], len(chosen))[0]
    reader: _Delimited | _JsonLines | _Parquet
    if form == "Parquet":
        reader = _Parquet()
    elif form == "JSON lines":
        reader = _JsonLines(guess_encoding(first))
    else:
        reader = _Delimited(first, chosen[0], columns)
    if columns and not isinstance(reader, _Delimited):
        raise ValueError(f"{chosen[0]} has names of columns in it: only CSV and TSV take others")
    tables: list[pa.Table] = []
    for path in chosen:
        table = _with_partitions(reader.read(path, len(chosen)), path)
        if tables:
            _check_alike(tables[0], chosen[0], table, path)
        tables.append(table)
    whole = pa.concat_tables(tables, promote_options="permissive")
    if not whole.num_rows:
        raise ValueError(f"{chosen[0]} has no rows")
    table = thinned(whole)
    texts = {name: strings(table[name]) for name in table.column_names}
    is_whole = len(chosen) == len(paths) and not reader.is_cut and table is whole
    return Sample(texts, reader.settings(), tuple(reader.comments), is_whole)


def _format_of(paths: Sequence[str]) -> str:
    """The format of files; a ValueError if they have several."""
    found: dict[str, str] = {}
    for path in paths:
        with open_source(path) as file:
            found.setdefault(_format(file.read(_BEGINNING)), path)
    if len(found) > 1:
        each = ", ".join(f"{path} is {name}" for name, path in found.items())
        raise ValueError(f"{each}: {_ONE_TABLE}")
    return next(iter(found))


def _format(beginning: bytes) -> str:
    if beginning.startswith(b"PAR1"):
        return "Parquet"
    is_object = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return "JSON lines" if is_object else "delimited text"


def sample_frame(frame: Any) -> Sample:
    """A sample of a frame, as `columns_of` takes it."""
    columns = columns_of(frame)
    comments = ("From a frame: save it as Parquet to prepare it.",)
    sample = Sample(columns, {"format": "parquet"}, comments)
    return dataclasses.replace(sample, is_whole=sample.rows < ROWS)


def _check_alike(first: pa.Table, first_path: str, table: pa.Table, path: str) -> None:
    differing = sorted(set(first.column_names) ^ set(table.column_names))
    if differing:
        raise ValueError(
            f"{path} and {first_path} have not the same columns ({differing[0]!r} is in one of "
            f"them): {_ONE_TABLE}"
        )


def _with_partitions(table: pa.Table, path: str) -> pa.Table:
    """The table with what the names of its folders say, such as `day=2024-01-31`."""
    for name, value in partition_columns(path).items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table


class _Delimited:
    """Reads files that are all written as the first is."""

    def __init__(self, first: bytes, path: str, columns: Sequence[str]):
        self._encoding, self._columns = guess_encoding(first), tuple(columns)
        self._dialect = self._guess(first, path)
        self._skipped, self.is_cut = 0, False

    def _guess(self, data: bytes, path: str) -> Dialect:
        try:
            found = guess_dialect(self._decoded(data))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not self._columns:
            _check_unique(found.columns, path)
            return found
        if len(set(self._columns)) < len(self._columns):
            raise ValueError(f"a column is named twice: {shortened(', '.join(self._columns))}")
        if len(self._columns) != len(found.columns):
            there = shortened(", ".join(found.columns))
            raise ValueError(
                f"{path} has {len(found.columns)} columns ({there}), and {len(self._columns)} "
                "are named"
            )
        return dataclasses.replace(found, columns=self._columns)

    def _decoded(self, data: bytes) -> str:
        return data.decode(self._encoding, "replace").removeprefix("\ufeff")

    def read(self, path: str, files: int) -> pa.Table:
        """Some rows of a file."""
        pieces = [self._decoded(data) for data in read_pieces(path, files)]
        self.is_cut |= len(pieces) > 1
        dialect = self._guess(pieces[0].encode(self._encoding), path)
        if len(dialect.columns) != len(self._dialect.columns):
            raise ValueError(
                f"{path} has {len(dialect.columns)} columns, another file "
                f"{len(self._dialect.columns)}: {_ONE_TABLE}"
            )
        if dialect.header:
            pieces[0] = pieces[0].partition("\n")[2]
        tables = [self._read(piece, dialect.columns) for piece in pieces]
        return pa.concat_tables(tables)

    def _read(self, text: str, columns: Sequence[str]) -> pa.Table:
        if not text:
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        delimiter = self._dialect.delimiter
        if len(delimiter) > 1:
            text, delimiter = text.replace(delimiter, _UNIT_SEPARATOR), _UNIT_SEPARATOR
        data = text.encode()
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            pyarrow.csv.ReadOptions(column_names=columns, block_size=max(len(data), 1)),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if self._dialect.quoted else False,
                newlines_in_values=self._dialect.quoted,
                invalid_row_handler=self._skip,
            ),
            pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in columns}, strings_can_be_null=False
            ),
        )

    def _skip(self, row: pyarrow.csv.InvalidRow) -> str:
        del row
        self._skipped += 1
        return "skip"

    def settings(self) -> dict[str, Any]:
        """The section `source:` but for defaults."""
        dialect = self._dialect
        kind = "tsv" if dialect.delimiter == "\t" and not dialect.quoted else "csv"
        settings: dict[str, Any] = {"format": kind}
        if dialect.delimiter not in (",", "\t") or (dialect.delimiter == "\t" and kind == "csv"):
            settings["delimiter"] = dialect.delimiter
        if len(dialect.delimiter) > 1:
            settings["quoted"] = False
        if self._encoding != "utf-8":
            settings["encoding"] = self._encoding
        if not dialect.header:
            settings["header"] = False
        if self._columns or not dialect.header:
            settings["columns"] = list(dialect.columns)
        return settings

    @property
    def comments(self) -> Iterator[str]:
        """What was seen."""
        if not (self._columns or self._dialect.header):
            yield (
                "There is no header. Names say much of what columns hold: give them by --columns "
                "c1,c2,..."
            )
        if self._skipped:
            yield (
                f"{self._skipped} rows of the sample have another number of columns: they will be "
                "rejected."
            )


def _check_unique(columns: Sequence[str], path: str) -> None:
    (name, count), *_ = collections.Counter(columns).most_common(1)
    if count > 1:
        raise ValueError(
            f"{path}: {count} columns are named {name!r}: rename all but one, or name all columns "
            "by --columns"
        )


class _JsonLines:
    """Reads files with one JSON object a line."""

    def __init__(self, encoding: str):
        self._encoding, self._skipped, self.is_cut = encoding, 0, False

    def read(self, path: str, files: int) -> pa.Table:
        """Some rows of a file."""
        pieces = read_pieces(path, files)
        self.is_cut |= len(pieces) > 1
        text = "\n".join(piece.decode(self._encoding, "replace") for piece in pieces)
        lines = [line for line in text.removeprefix("\ufeff").split("\n") if line.strip()]
        rows = [row for row in map(_json_object, lines) if row is not None]
        if lines and not rows:
            raise ValueError(f"{path}: no line is a JSON object")
        self._skipped += len(lines) - len(rows)
        names = dict.fromkeys(itertools.chain.from_iterable(rows))
        return pa.table({name: _json_column(row.get(name) for row in rows) for name in names})

    def settings(self) -> dict[str, Any]:
        """The section `source:`."""
        encoding = {} if self._encoding == "utf-8" else {"encoding": self._encoding}
        return {"format": "jsonl", **encoding}

    @property
    def comments(self) -> Iterator[str]:
        """What was seen."""
        if self._skipped:
            yield f"{self._skipped} lines of the sample are no JSON objects: they will be rejected."


def _json_object(line: str) -> dict[str, Any] | None:
    """An object whose numbers are spelled as they are in the file; None for what is none."""
    try:
        value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json_column(values: Iterable[Any]) -> pa.Array:
    cells = list(values)
    if any(isinstance(cell, list) for cell in cells):
        lists = (cell if isinstance(cell, list) else None for cell in cells)
        spelled = [None if cell is None else [_json_cell(item) for item in cell] for cell in lists]
        return pa.array(spelled, pa.list_(pa.string()))
    return pa.array([_json_cell(cell) for cell in cells], pa.string())


def _json_cell(value: Any) -> str | None:
    """A value as a string: true is 1, an object is nothing."""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) and value else None


class _Parquet:
    """Reads some rows of some row groups."""

    comments: tuple[str, ...] = ()
    is_cut = False

    def read(self, path: str, files: int) -> pa.Table:
        """Some rows of a file."""
        with open_source(path) as file:
            try:
                parquet = pyarrow.parquet.ParquetFile(file)
                last = parquet.num_row_groups - 1
                groups = sorted({last * place // (_GROUPS - 1) for place in range(_GROUPS)})
                rows = max(ROWS // files // _GROUPS, 1)
                some = (parquet.iter_batches(rows, [group]) for group in groups if last >= 0)
                batches = [batch for of_group in some for batch in itertools.islice(of_group, 1)]
            except (pa.ArrowException, OSError) as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(f"{path} cannot be read as Parquet: {reason}") from error
            table = pa.Table.from_batches(batches, parquet.schema_arrow)
            self.is_cut |= table.num_rows < parquet.metadata.num_rows
        return table

    def settings(self) -> dict[str, Any]:
        """The section `source:`."""
        return {"format": "parquet"}
