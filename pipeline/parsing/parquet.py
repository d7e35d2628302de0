"""Parquet files."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipeline.block import Block
from pipeline.sources import BLOCK_LINES, Chunk, open_source


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Parquet files. Numbers become strings; a list column's values are joined by a separator."""

    columns: tuple[str, ...]  # to read
    separators: tuple[tuple[str, str], ...] = ()  # of list columns, by name

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """One chunk for each row group."""
        del size
        with open_source(whole.path) as file:
            groups = pyarrow.parquet.ParquetFile(file).num_row_groups
        return [dataclasses.replace(whole, index=i, start=i, stop=i + 1) for i in range(groups)]

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        first = 0
        with open_source(chunk.path) as file:
            parquet = pyarrow.parquet.ParquetFile(file)
            missing = [name for name in self.columns if name not in parquet.schema_arrow.names]
            if missing:
                raise ValueError(f"{chunk.path}: there is no column {', '.join(missing)}")
            groups = map(parquet.metadata.row_group, range(chunk.start))
            before = sum(group.num_rows for group in groups)
            for batch in parquet.iter_batches(BLOCK_LINES, [chunk.start], self.columns):
                columns = {name: self._strings(name, batch.column(name)) for name in self.columns}
                raw = pc.binary_join_element_wise(*columns.values(), "\t").cast(pa.binary())
                positions = before + first + np.arange(batch.num_rows)
                yield Block(first, raw.to_pylist(), columns, positions)
                first += batch.num_rows

    def _strings(self, name: str, column: pa.Array) -> pa.Array:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            values = column.cast(pa.list_(pa.string()))
            column = pc.binary_join(values, dict(self.separators).get(name, " "))
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return pc.fill_null(column.cast(pa.string()), "")
