"""The structures that AutoFeature searches: a cell of blocks for each pair of fields."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ctr_keras.plan import OPERATIONS, Block
from ctr_keras.types import Array

_NONE = 0  # in the place of an operation: the cell ends before this block


@dataclasses.dataclass(frozen=True)
class Structures:
    """All structures of so many pairs and blocks, each an array of genes `(pairs, genes)`.

    The genes of a pair are the operation of its first block, 0 for none, and of each other block
    the operation and which two of the nodes before it reads. The first block without an operation
    ends the cell; genes behind it are 0.

    Args:
        pairs: int.
        blocks: int. In a cell, at most.

    Example:

    >>> Structures(pairs=3, blocks=2).choices.tolist()
    [5, 5, 3]
    """

    pairs: int
    blocks: int

    @property
    def choices(self) -> Array:
        """How many values each gene of a pair may have."""
        operations = len(OPERATIONS) + 1
        others = ((operations, len(_readings(block))) for block in range(1, self.blocks))
        return np.array([operations, *itertools.chain(*others)])

    def drawn(self, draw: np.random.Generator) -> Array:
        """A random one, of which a random share of pairs has a cell: one pair at least."""
        genes = draw.integers(0, self.choices, (self.pairs, len(self.choices)))
        genes[:, 0] = draw.integers(1, self.choices[0], self.pairs)
        genes[draw.permutation(self.pairs)[draw.integers(1, self.pairs + 1) :], 0] = _NONE
        return _ended(genes)

    def child(
        self, parents: tuple[Array, Array], mutation: float, draw: np.random.Generator
    ) -> Array:
        """Of each pair the cell of one of the parents, and of a share of pairs a random one."""
        first, second = parents
        genes = np.where(draw.random((self.pairs, 1)) < 0.5, first, second)
        genes = np.where(draw.random((self.pairs, 1)) < mutation, self.drawn(draw), genes)
        return genes if genes.any() else self.drawn(draw)

    def cells(self, genes: Array) -> dict[int, tuple[Block, ...]]:
        """The blocks of the pairs that have a cell, by the place of the pair."""
        return {pair: _blocks(row) for pair, row in enumerate(genes.tolist()) if row[0] != _NONE}


def _readings(block: int) -> list[tuple[int, int]]:
    """Which two nodes a block may read: the two fields, and what the blocks before it made."""
    return [*itertools.combinations(range(block + 2), 2)]


def _ended(genes: Array) -> Array:
    """Genes that are 0 from the first block without an operation on."""
    goes_on = genes[:, :1] != _NONE
    ended = [genes[:, :1]]
    for column in range(1, genes.shape[1], 2):
        goes_on = goes_on & (genes[:, column : column + 1] != _NONE)
        ended.append(np.where(goes_on, genes[:, column : column + 2], 0))
    return np.concatenate(ended, axis=1)


def _blocks(row: Sequence[int]) -> tuple[Block, ...]:
    """The blocks of a cell that has one."""
    blocks: list[Block] = [(OPERATIONS[row[0] - 1], 0, 1)]
    for operation, reading in zip(row[1::2], row[2::2], strict=True):
        if operation == _NONE:
            break
        blocks.append((OPERATIONS[operation - 1], *_readings(len(blocks))[reading]))
    return tuple(blocks)
