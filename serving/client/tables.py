"""Tables that users pass and get: columns, rows, data frames."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.values import is_pandas
from serving.types import Array, Arrays, Row, Table, Value


def as_columns(table: Table) -> dict[str, Any]:
    """Values by column of a dict of columns, a pandas.DataFrame, or a sequence of dict: rows.

    A column that only other rows have is None. It is a TypeError if it is none of these, and a
    ValueError if a data frame has two columns of one name.

    Example:

    >>> as_columns([{"a": 1}, {"a": 2, "b": 3}])
    {'a': [1, 2], 'b': [None, 3]}
    """
    if is_pandas(table, "DataFrame"):
        if not table.columns.is_unique:
            twice = table.columns[table.columns.duplicated()][0]
            raise ValueError(f"the data frame has several columns named {twice}")
        return {name: table[name] for name in table.columns}
    if isinstance(table, Mapping):
        return dict(table)
    if isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        names = dict.fromkeys(name for row in table for name in row)
        return {name: [row.get(name) for row in table] for name in names}
    raise TypeError(
        "expected a dict of columns, a pandas.DataFrame or a list of rows (dicts), "
        f"got {type(table).__name__}"
    )


def columns_of_rows(
    rows: Sequence[Row],
    inputs: Iterable[str],
    ignore: Collection[str] = (),
    first_row: int = 1,
) -> dict[str, list[Value]]:
    """Columns for all inputs of a signature; None where a row has no value.

    Rows may have the columns in `ignore`, too. Another is a ValueError, in which rows are counted
    from `first_row`.

    Example:

    >>> columns_of_rows([{"a": 1}, {}], ["a", "b"])
    {'a': [1, None], 'b': [None, None]}
    """
    known = {*inputs, *ignore}
    for number, row in enumerate(rows, start=first_row):
        if not known.issuperset(row):
            surplus = next(name for name in row if name not in known)
            raise ValueError(f"row {number}: the model has no input for column {surplus}")
    return {name: [row.get(name) for row in rows] for name in inputs}


def to_frame(outputs: Arrays, index: Any) -> Any:
    """Outputs as a data frame; an output of several values a row becomes a column of lists."""
    import pandas

    check_rows(outputs, len(index))
    columns = {
        name: array if array.ndim == 1 else pandas.Series(array.tolist(), index, object)
        for name, array in outputs.items()
    }
    return pandas.DataFrame(columns, index)


def to_rows(outputs: Arrays, count: int) -> list[Value]:
    """Outputs as one plain Python value a row, or one dict a row if there are several outputs.

    A float32 becomes the shortest number that reads back as it, as in the server's JSON.

    Example:

    >>> to_rows({"score": np.float32([0.1, 0.5])}, 2)
    [0.1, 0.5]
    """
    check_rows(outputs, count)
    columns = {name: _plain(array) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def check_rows(outputs: Arrays, count: int) -> None:
    """Raises a ValueError unless every output has `count` rows."""
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != count:
            raise ValueError(
                f"the model does not give one value a row: output {name} has shape "
                f"{list(array.shape)} for {count} rows; pass columns to get it as it is"
            )


def _plain(array: Array) -> list[Value]:
    if array.dtype == np.float32:
        array = array.astype(str).astype(np.float64)
    values: list[Value] = array.tolist()
    return values
