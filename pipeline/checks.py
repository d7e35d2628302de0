"""What is looked at before a job starts: the beginnings of all files, and some rows of one."""

import collections
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.block import Block
from pipeline.datasets.base import Dataset, History
from pipeline.sources import Chunk, SourceError, SourceFile
from pipeline.splits import FileSplit, LastSplit, Values

_THREADS = 16  # files may lie far away
_ROWS = 1000  # of a file, at least
_REASONS_SHOWN = 3


def check_source(dataset: Dataset, source: str, files: Sequence[SourceFile]) -> None:
    """Checks that the files of a source are as declared, as far as their beginnings tell.

    Args:
        dataset: Dataset.
        source: str. Where the files are.
        files: list of SourceFile. What `dataset.files` has found there.

    Raises:
        SourceError: for the first file that cannot be read or does not have the columns, and if no
            row at the beginning of the first file with rows can be used.
    """
    paths = [file.path for file in files]
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(dataset.table.check, paths):
            pass
    for path in paths:
        if _has_rows(dataset, path, source):
            return


def _has_rows(dataset: Dataset, path: str, source: str) -> bool:
    """Whether a file has rows. Raises a SourceError if none of the first can be used."""
    rows, reasons = 0, collections.Counter[str]()
    for block in dataset.table.read(Chunk(path, 0, None)):
        _parse(dataset, block, source)
        if block.is_good.any():
            return True
        rows += len(block)
        reasons.update(reason for _, reason, _ in block.rejected())
        if rows >= _ROWS:
            break
    if rows:
        shown = reasons.most_common(_REASONS_SHOWN)
        why = ", ".join(f"{count} x {reason}" for reason, count in shown)
        raise SourceError(f"{path}: none of the first {rows} rows is good: {why}")
    return False


def _parse(dataset: Dataset, block: Block, source: str) -> None:
    """Rejects the rows that the job will reject."""
    dataset.parse(block, source)
    if not isinstance(dataset.split, FileSplit):
        dataset.split.assign(np.zeros(len(block), np.int64), block, dataset.missing)
    for ordered in (dataset.history, dataset.split):
        if isinstance(ordered, History | LastSplit):
            Values(block, ordered.time, dataset.missing).order()
