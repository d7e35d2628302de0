"""Parquet files."""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipeline.block import BLOCK_ROWS, Block, mask
from pipeline.parsing.columns import (
    add_partition_columns,
    check_columns,
    item_with_separator,
    unexpected_list,
    unexpected_weights,
)
from pipeline.sources import Chunk, SourceError, one_line, open_source


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Parquet files. Numbers become text, and a list's values but null are joined by a separator,
    also those of a map, each with its weight.

    Args:
        columns: tuple of str. Those to read.
        separators: tuple of (str, str). For each column that may have lists, what joins their
            values. Defaults to `()`.
        weight_separators: tuple of (str, str). For each column whose lists may have weights, what
            joins a value and its weight. Defaults to `()`.
    """

    columns: tuple[str, ...]
    separators: tuple[tuple[str, str], ...] = ()
    weight_separators: tuple[tuple[str, str], ...] = ()

    def check(self, path: str) -> None:
        """Raises a SourceError if a file has a column to read not at all, twice or of a type that
        is no text, number, time or list of these."""
        with _open_parquet(path) as file:
            schema = file.schema_arrow
            check_columns(path, schema.names, self.columns)
        for field in (schema.field(name) for name in self.columns if name in schema.names):
            kinds = self._kinds(path, field)
            try:
                for kind in kinds:
                    _texts(pa.array([], kind))
            except pa.ArrowException as error:
                remedy = "write it as text, as numbers or as a list of these"
                raise SourceError(f"{path}: {field.name} is {field.type}: {remedy}") from error

    def _kinds(self, path: str, field: pa.Field) -> list[pa.DataType]:
        """The types of what becomes text: a column's, its lists' or its maps' keys and values."""
        name, kind = field.name, field.type
        is_of_lists = name in dict(self.separators)
        if _is_list(kind):
            if not is_of_lists:
                raise SourceError(f"{path}: {unexpected_list(name)}")
            return [kind.value_type]
        if pa.types.is_map(kind) and is_of_lists:
            if name not in dict(self.weight_separators):
                raise SourceError(f"{path}: {unexpected_weights(name)}")
            return [kind.key_type, kind.item_type]
        return [kind]

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """One chunk for each row group."""
        del size
        with _open_parquet(whole.path) as file:
            groups = file.num_row_groups
        return [dataclasses.replace(whole, index=i, start=i, stop=i + 1) for i in range(groups)]

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        with _open_parquet(chunk.path) as file:
            names = [name for name in self.columns if name in file.schema_arrow.names]
            stop = file.num_row_groups if chunk.stop is None else chunk.stop
            groups = map(file.metadata.row_group, range(chunk.start))
            before = sum(group.num_rows for group in groups)
            first = 0
            for batch in file.iter_batches(BLOCK_ROWS, range(chunk.start, stop), names):
                positions = before + first + np.arange(batch.num_rows)
                block = Block(first, [b""] * batch.num_rows, positions=positions)
                for name in names:
                    block.columns[name] = self._column(block, name, batch.column(name))
                raw = pc.binary_join_element_wise(*block.columns.values(), "\t").cast(pa.binary())
                block.raw = np.array(raw.to_pylist(), object)
                add_partition_columns(block, chunk.path, self.columns)
                yield block
                first = block.next_line

    def _column(self, block: Block, name: str, values: pa.Array) -> pa.Array:
        """A column as text, "" for null. Rejects rows whose value cannot be text."""
        if pa.types.is_map(values.type):
            values = _weighted(values, dict(self.weight_separators)[name])
        if _is_list(values.type):
            return _join(block, name, values, dict(self.separators)[name])
        texts = _texts(values)
        block.reject(mask(pc.is_null(texts)) & mask(pc.is_valid(values)), f"{name} is not UTF-8")
        return pc.fill_null(texts, "")


@contextlib.contextmanager
def _open_parquet(path: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    with open_source(path) as file:
        try:
            yield pyarrow.parquet.ParquetFile(file, page_checksum_verification=True)
        except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of names
            reason = one_line(str(error))
            raise SourceError(f"{path} cannot be read as Parquet: {reason}") from error


def _is_list(kind: pa.DataType) -> bool:
    return isinstance(
        kind,
        pa.ListType
        | pa.LargeListType
        | pa.FixedSizeListType
        | pa.ListViewType
        | pa.LargeListViewType,
    )


def _join(block: Block, name: str, lists: pa.Array, separator: str) -> pa.Array:
    """Each list's items joined, without those that are null. Rejects rows with an item that holds
    the separator, as it could not be split again."""
    lists = lists.cast(pa.list_(lists.type.value_type))
    rows, items = pc.list_parent_indices(lists), _texts(pc.list_flatten(lists))
    is_torn = rows.filter(pc.fill_null(pc.match_substring(items, separator), False))
    reason = item_with_separator(name, separator)
    block.reject(np.isin(np.arange(len(lists)), is_torn), reason)
    is_item = pc.is_valid(items)
    counts = np.bincount(rows.filter(is_item), minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, items.filter(is_item)), separator)


def _weighted(maps: pa.MapArray, separator: str) -> pa.ListArray:
    """Lists of values, each with its weight, of maps."""
    weights = pc.fill_null(_texts(maps.items), "")
    items = pc.binary_join_element_wise(_texts(maps.keys), weights, separator)
    return pa.ListArray.from_arrays(maps.offsets, items)


def _texts(values: pa.Array) -> pa.Array:
    """Values as text; null where they are, or are bytes that are no UTF-8."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(map(_decode, values.cast(pa.binary()).to_pylist()), pa.string())


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
