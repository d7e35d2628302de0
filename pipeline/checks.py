"""What is looked at before a job starts: the beginnings of all files, and some rows of one."""

import collections
from concurrent.futures import ThreadPoolExecutor

from pipeline.datasets.base import Dataset
from pipeline.sources import Chunk, SourceError

_THREADS = 16  # files may lie far away
_REASONS_SHOWN = 3


def check_source(dataset: Dataset, source: str) -> None:
    """Checks that the files of a source are as declared, as far as their beginnings tell.

    Args:
        dataset: Dataset.
        source: str. Where the files are.

    Raises:
        FileNotFoundError: if there are none.
        SourceError: for the first file that cannot be read or does not have the columns, and if no
            row at the beginning of the first file with rows can be used.
    """
    paths = [path for path, _, _ in dataset.files(source)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(dataset.table.check, paths):
            pass
    for path in paths:
        if block := next(dataset.table.read(Chunk(path, 0, None)), None):
            dataset.parse(block, source)
            if not block.is_good.any():
                reasons = collections.Counter(reason for _, reason, _ in block.rejected())
                shown = reasons.most_common(_REASONS_SHOWN)
                why = ", ".join(f"{count} x {reason}" for reason, count in shown)
                raise SourceError(f"{path}: none of the first {len(block)} rows is good: {why}")
            return
