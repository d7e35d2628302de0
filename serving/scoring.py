"""Offline scoring: raw files to scores by the graph that is served, without a server.

Files are read as `ctr-keras prepare` reads them, block by block, so that memory does not grow with
them. Every row of a file, a bad one too, is a row of the output, in the same order.
"""

import collections
import contextlib
import dataclasses
import itertools
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ctr_keras.features.columns import Frame
from ctr_keras.files import copy_file, find, is_remote
from ctr_keras.types import Array
from pipeline.block import Block
from pipeline.datasets.base import Dataset, Table
from pipeline.earlier import dataset_like
from pipeline.parsing.delimited import Delimited
from pipeline.sources import Chunk, SourceError
from pipeline.splits import OneSplit

if TYPE_CHECKING:
    from serving.export.scorer import Scorer

Writer: TypeAlias = pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter

SCORE, REJECTED = "score", "rejected"
_WRITERS: dict[str, type[Writer]] = {
    ".parquet": pyarrow.parquet.ParquetWriter,
    ".csv": pyarrow.csv.CSVWriter,
}
_BLOCKS_WRITTEN = 64  # at once: a row group of Parquet
_REASONS_SHOWN = 3


def score(run: str, frame: Frame, data: str | None = None) -> Array:
    """The scores of a data frame's rows.

    Args:
        run: str. The run's folder.
        frame: of pandas, polars or pyarrow, or a dict of arrays: the raw columns, with missing
            values as None, NaN or `""`. For many frames make a `serving.export.scorer.Scorer` once.
        data: str or None. The prepared data. Defaults to `None`: those the run was trained on.

    Returns:
        Array `(rows,)` float32, or of several labels `(rows, labels)`.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        ValueError: for a column that is not there, or a value that is not as declared, with its
            row.

    Example:

    A finished run is needed:

    >>> score("runs/ml", {"user": ["ann", ""], "price": [1.5, None]})  # doctest: +SKIP
    array([0.5 , 0.25], dtype=float32)
    """
    from serving.export.scorer import Scorer

    return Scorer(run, data).score(frame)


def score_files(
    run: str,
    source: str,
    out: str,
    keep: Collection[str] = (),
    data: str | None = None,
    columns: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores raw files, row by row.

    Files have the format of the data set that the run's data were prepared from, and need neither
    label nor weight, nor columns that only its split reads. Instead of what a user did before
    (`history:`) they have that column, as requests do. A row that `prepare` would reject has no
    score, but a reason, in the column `rejected`.

    Args:
        run: str. The run's folder.
        source: str. A file, a folder or a pattern.
        out: str. The file to write, whole or not at all: Parquet or, if it ends in `.csv`, CSV.
        keep: list of str. Columns of the files to write next to the score, as text. Defaults to
            `()`.
        data: str or None. The prepared data. Defaults to `None`: those the run was trained on.
        columns: list of str. Names of all columns of delimited files without a header, in order.
            Defaults to `()`: those of the log, with its label.

    Returns:
        dict: `rows`, `scored`, and `rejected_because`, how many rows by reason.

    Raises:
        FileNotFoundError: if the run, its data or the files are not there.
        ValueError: for another ending of `out`, files that are not as declared or lack a column,
            and if no row could be scored.

    Example:

    A finished run is needed:

    >>> score_files("runs/ml", "today.csv", "scores.parquet", ["user"])  # doctest: +SKIP
    {'rows': 1000, 'scored': 999, 'rejected_because': {'price is not a number': 1}}
    """
    writer = _writer_of(out)
    from serving.export.scorer import Scorer  # slow to import

    _check_kept(keep, (SCORE,))
    scorer = Scorer(run, data)
    _check_kept(keep, scorer.names)
    rows = _Rows(dataset_like(scorer.prepared, OneSplit("test")), source, keep, columns)
    rows.check()
    with _whole(out) as path, writer(path, rows.schema(scorer.names)) as file:
        blocks = rows.scored(scorer)
        while some := list(itertools.islice(blocks, _BLOCKS_WRITTEN)):
            file.write_table(pa.Table.from_batches(some))
        return rows.count()


def _check_kept(keep: Collection[str], scores: Collection[str]) -> None:
    if taken := {*scores, REJECTED} & {*keep}:
        raise ValueError(f"the output has a {taken.pop()} of its own: keep another column")


def _writer_of(out: str) -> type[Writer]:
    ending = os.path.splitext(out)[1]
    if ending not in _WRITERS:
        raise ValueError(f"{out} must end in {' or '.join(_WRITERS)}")
    return _WRITERS[ending]


@contextlib.contextmanager
def _whole(out: str) -> Iterator[str]:
    """Where to write a file that is at `out` once it is whole."""
    with contextlib.ExitStack() as stack:
        if is_remote(out):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        else:
            os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
            folder = os.path.dirname(out)
        path = os.path.join(folder, f"{os.path.basename(out)}.partial")
        try:
            yield path
            copy_file(path, out) if is_remote(out) else os.replace(path, out)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


class _Rows:
    """The rows of files, read, scored and counted."""

    def __init__(
        self,
        dataset: Dataset,
        source: str,
        keep: Collection[str] = (),
        columns: Sequence[str] = (),
    ):
        needed = dict.fromkeys([*dataset.scored_columns, *keep])
        pattern = "" if find(source) else dataset.pattern  # which is for a folder
        table = _reading(dataset.table, tuple(needed), tuple(columns))
        self._dataset = dataclasses.replace(dataset, table=table, pattern=pattern)
        self._source, self._keep = source, list(dict.fromkeys(keep))
        self._paths = [file.path for file in self._dataset.files(source)]
        self._rows = 0
        self._reasons = collections.Counter[str]()

    def schema(self, names: Iterable[str]) -> pa.Schema:
        """The columns of the output, where scores are called so."""
        kept = [(name, pa.string()) for name in self._keep]
        scores = [(name, pa.float32()) for name in names]
        return pa.schema([*kept, *scores, (REJECTED, pa.string())])

    def check(self) -> None:
        """Raises a SourceError for a file whose beginning is not as declared."""
        history = self._dataset.history
        for path in self._paths:
            try:
                self._dataset.table.check(path)
            except SourceError as error:
                if history is None or f"no column {history.column!r}" not in str(error):
                    raise
                hint = "what users did before is a column of files to score, as of requests"
                raise SourceError(f"{path} has no column {history.column!r}: {hint}") from error

    def scored(self, scorer: "Scorer") -> Iterator[pa.RecordBatch]:
        """The rows of the output, in blocks."""
        for number, path in enumerate(self._paths):
            for block in self._dataset.table.read(Chunk(path, number, None)):
                scores = self._scores(block, scorer)
                rejected = {line: reason for line, reason, _ in block.rejected()}
                self._rows += len(block)
                self._reasons.update(rejected.values())
                columns = [block.columns[name] for name in self._keep]
                columns += [*scores, _places(path, block.line.tolist(), rejected)]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema(scorer.names))

    def _scores(self, block: Block, scorer: "Scorer") -> list[pa.Array]:
        raw = self._dataset.scored(block, self._source)
        is_good = block.is_good
        scores = np.zeros((len(block), len(scorer.names)), np.float32)
        if is_good.any():
            good = {name: values.filter(pa.array(is_good)) for name, values in raw.items()}
            found = scorer({name: np.asarray(values) for name, values in good.items()})
            scores[is_good] = found.reshape(-1, len(scorer.names))
        return [pa.array(of, mask=~is_good) for of in scores.T]

    def count(self) -> dict[str, Any]:
        """What became of the rows. Raises a SourceError if none has a score."""
        scored = self._rows - self._reasons.total()
        if not scored:
            shown = self._reasons.most_common(_REASONS_SHOWN)
            why = ", ".join(f"{count} x {reason}" for reason, count in shown)
            what = f"none of the {self._rows} rows can be scored" if self._rows else "has no rows"
            raise SourceError(f"{self._source}: {what}{': ' if why else ''}{why}")
        because = dict(self._reasons.most_common())
        return {"rows": self._rows, "scored": scored, "rejected_because": because}


def _reading(table: Table, needed: tuple[str, ...], columns: tuple[str, ...]) -> Table:
    """The table of files of which some columns are read; without a header, all of them have
    names."""
    if isinstance(table, Delimited) and not table.header:
        names = columns or table.names or table.columns
        return dataclasses.replace(table, columns=needed, names=names)
    if columns:
        raise ValueError("columns are named for delimited files without a header alone")
    return dataclasses.replace(table, columns=needed)


def _places(path: str, lines: Sequence[int], rejected: dict[int, str]) -> pa.Array:
    """Of each row of a block why it has no score, and where it is; null of a good one."""
    told: Iterable[str | None] = (
        f"{path}, line {line + 1}: {rejected[line]}" if line in rejected else None for line in lines
    )
    return pa.array(list(told), pa.string())
