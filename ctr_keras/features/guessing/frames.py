"""Columns of a frame as strings, which is what a look at them takes."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROWS = 100_000  # of a sample


def columns_of(frame: Any) -> dict[str, pa.Array]:
    """The columns of a frame, of some rows from all over it if there are many.

    Args:
        frame: of pandas, polars or pyarrow, or anything that Arrow takes for one.

    Raises:
        TypeError: for anything else.
        ValueError: if it has no rows.
    """
    if isinstance(frame, dict) or hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
    elif hasattr(frame, "to_arrow"):
        table = frame.to_arrow()
    else:
        raise TypeError(
            f"expected a frame of pandas, polars or pyarrow, got {type(frame).__name__}"
        )
    if not table.num_rows:
        raise ValueError("the frame has no rows")
    table = thinned(table)
    return {name: strings(table[name]) for name in table.column_names}


def thinned(table: pa.Table) -> pa.Table:
    """At most `ROWS` rows, from all over a table."""
    if table.num_rows <= ROWS:
        return table
    return table.take(pa.array(np.linspace(0, table.num_rows - 1, ROWS).astype(int)))


def strings(column: pa.ChunkedArray) -> pa.Array:
    """A column as the pipeline reads it: strings, or lists of strings; null where empty."""
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_list(values.type):
        return values.cast(pa.list_(pa.string()))
    if pa.types.is_map(values.type) and pa.types.is_primitive(values.type.item_type):
        return _weighted(values)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    try:
        text = values.cast(pa.string())
    except pa.ArrowException:  # an object, or bytes that are no text
        return pa.nulls(len(values), pa.string())
    return pc.if_else(pc.equal(text, ""), None, text)


def _weighted(maps: pa.MapArray) -> pa.ListArray:
    """Lists of values, each with its weight, of maps."""
    texts = (maps.keys.cast(pa.string()), pc.fill_null(maps.items.cast(pa.string()), ""))
    return pa.ListArray.from_arrays(maps.offsets, pc.binary_join_element_wise(*texts, ":"))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ) and not pa.types.is_nested(kind.value_type)
