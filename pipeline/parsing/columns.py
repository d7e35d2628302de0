"""What all formats do with columns: they are looked for in a file and in its path."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from ctr_keras.settings import did_you_mean
from pipeline.block import Block
from pipeline.sources import SourceError, one_line, partition_columns

_SHOWN = 200  # characters in a message


def check_columns(path: str, found: Sequence[str], wanted: Iterable[str]) -> None:
    """Raises a SourceError for a wanted column that a file does not have, neither in itself nor by
    the folders that it is in, or has twice."""
    available = [*found, *partition_columns(path)]
    for name in wanted:
        if name not in available:
            hint = shortened(did_you_mean(name, available))
            raise SourceError(f"{path} has no column {name!r}{hint}")
        if found.count(name) > 1:
            raise SourceError(
                f"{path} has {found.count(name)} columns named {name!r}: rename all but one"
            )


def add_partition_columns(block: Block, path: str, wanted: Iterable[str]) -> None:
    """Gives a block the columns that the file does not have but its path."""
    values = partition_columns(path)
    for name in wanted:
        if name not in block.columns:
            block.columns[name] = pa.repeat(values[name], len(block))


def item_with_separator(name: str, separator: str) -> str:
    """Why a row with such an item is rejected."""
    return f"an item of {name} holds the separator {separator!r}"


def unexpected_list(name: str) -> str:
    """What is wrong with a list in a column of single values."""
    return f"{name} is a list: declare it multi_valued or a sequence"


def unexpected_weights(name: str) -> str:
    """What is wrong with values and their weights in a column of lists."""
    return f"{name} has values with weights: declare its weight_separator"


def shortened(text: str) -> str:
    """The beginning of a text that may be as long as a file's first line, in one line."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return one_line(shown)
