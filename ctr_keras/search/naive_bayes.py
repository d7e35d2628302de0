"""A tree of Naive Bayes classifiers that parts structures into better and worse ones."""

import dataclasses

import numpy as np

from ctr_keras.types import Array


class NaiveBayes:
    """Whether structures are good, from each of their genes by itself.

    Args:
        structures: int array `(structures, genes)`.
        is_good: bool array `(structures,)`, of both kinds.
        choices: list of int. How many values each gene may have.
    """

    def __init__(self, structures: Array, is_good: Array, choices: Array) -> None:
        values = np.arange(max(choices))
        has_value = structures[:, :, None] == values
        good, bad = (has_value[is_good == kind].sum(axis=0) + 1 for kind in (True, False))
        counts = is_good.sum() + choices, (~is_good).sum() + choices
        ratios = np.log(good / counts[0][:, None]) - np.log(bad / counts[1][:, None])
        self._evidence = np.where(values < np.array(choices)[:, None], ratios, 0.0)
        self._prior = np.log(is_good.sum() / (~is_good).sum())

    def is_good(self, structures: Array) -> Array:
        """Whether each of them is more probably good: `(structures,)`."""
        evidence = self._evidence[np.arange(structures.shape[1]), structures]
        good: Array = self._prior + evidence.sum(axis=1) > 0
        return good


@dataclasses.dataclass(frozen=True)
class Region:
    """A leaf of the tree.

    Args:
        rows: int array. The places of the known structures in it.
        sides: list of pairs. The classifiers above, and what each says of what is in it.
    """

    rows: Array
    sides: tuple[tuple[NaiveBayes, bool], ...] = ()

    def holds(self, structure: Array) -> bool:
        """Whether a structure is in it."""
        return all(of.is_good(structure[None])[0] == side for of, side in self.sides)


def best_region(structures: Array, losses: Array, choices: Array, least: int) -> Region:
    """The leaf of the least mean loss of a tree that is grown on known structures.

    A node is parted by a classifier of those of its structures that are below their median loss and
    those that are not, into what it takes for good and for bad, as long as both sides have enough.

    Args:
        structures: int array `(structures, genes)`.
        losses: array `(structures,)`.
        choices: list of int. How many values each gene may have.
        least: int. Structures in a leaf, at least.

    Example:

    >>> structures = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> region = best_region(structures, np.array([0.3, 0.4, 0.7, 0.8]), np.array([2, 2]), least=2)
    >>> region.rows.tolist(), region.holds(np.array([1, 0]))
    ([0, 1], False)
    """
    leaves, nodes = [], [Region(np.arange(len(losses)))]
    while nodes:
        node = nodes.pop()
        parts = _parts(node, structures, losses, choices)
        if parts and min(len(part.rows) for part in parts) >= least:
            nodes += parts
        else:
            leaves.append(node)
    return min(leaves, key=lambda leaf: losses[leaf.rows].mean())


def _parts(node: Region, structures: Array, losses: Array, choices: Array) -> list[Region]:
    """Its two sides; none where all of its losses are alike."""
    inside, of = structures[node.rows], losses[node.rows]
    is_good = of < np.median(of)
    if not is_good.any():
        return []
    classifier = NaiveBayes(inside, is_good, choices)
    taken_for_good = classifier.is_good(inside)
    return [
        Region(node.rows[taken_for_good == side], (*node.sides, (classifier, side)))
        for side in (True, False)
    ]
