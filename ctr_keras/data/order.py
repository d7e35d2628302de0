"""The order in which arrays are read: the row numbers of each batch.

An epoch puts pieces of a batch's length, each of which lies together on the disk, in random order,
and shuffles the rows of a block of pieces. Few rows make one block, and so a full permutation.
"""

from collections.abc import Iterator

import numpy as np

from ctr_keras.types import Array

_BLOCK_PIECES = 64


def batches_in(count: int, batch_size: int, drop_remainder: bool) -> int:
    """How many batches a pass has; a ValueError for none.

    Example:

    >>> batches_in(5, 2, drop_remainder=False), batches_in(5, 2, drop_remainder=True)
    (3, 2)
    """
    if drop_remainder and count < batch_size:
        raise ValueError(f"{count} rows are less than a batch of {batch_size}: none is left")
    return count // batch_size if drop_remainder else -(-count // batch_size)


def shuffled_batches(
    count: int,
    batch_size: int,
    *,
    seed: int,
    skip_batches: int = 0,
    drop_remainder: bool = False,
) -> Iterator[Array]:
    """Which rows the batches of endless epochs have; the seed alone decides.

    Example:

    >>> import itertools
    >>> epoch = list(itertools.islice(shuffled_batches(5, 2, seed=0), 3))
    >>> [len(rows) for rows in epoch], sorted(np.concatenate(epoch).tolist())
    ([2, 2, 1], [0, 1, 2, 3, 4])
    """
    epoch, skipped = divmod(skip_batches, batches_in(count, batch_size, drop_remainder))
    while True:
        starts = np.random.default_rng([seed, epoch]).permutation(count // batch_size) * batch_size
        if count % batch_size:  # in the last block, so that the last batch alone is short
            starts = np.append(starts, count - count % batch_size)
        first_block, skipped = divmod(skipped, _BLOCK_PIECES)
        for block in range(first_block, -(-len(starts) // _BLOCK_PIECES)):
            pieces = starts[block * _BLOCK_PIECES : (block + 1) * _BLOCK_PIECES]
            rows = (pieces[:, None] + np.arange(batch_size)).ravel()
            rows = rows[rows < count]
            np.random.default_rng([seed, epoch, block]).shuffle(rows)
            if drop_remainder:
                rows = rows[: len(rows) - len(rows) % batch_size]
            for start in range(skipped * batch_size, len(rows), batch_size):
                yield rows[start : start + batch_size]
            skipped = 0
        epoch += 1
