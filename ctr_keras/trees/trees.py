"""Trees as data: which column a split reads, where it sends a row, what a leaf is worth."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.trees.columns import column_names
from ctr_keras.types import Config

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Tree:
    """One tree. Splits and leaves are numbered from 0; split 0, if there is one, is the root.

    A row goes left at a split whose threshold its number does not exceed, or whose categories have
    its own. A child is the number of a split, or, for leaf `n`, `-1 - n`.

    Attributes:
        columns: by split, the column that it reads.
        thresholds: by split, the largest number that goes left; 0 for categories.
        categories: by split, the places in the vocabulary that go left; empty for numbers.
        missing_left: by split, whether a row without a value goes left.
        left: by split, the child for rows that go left.
        right: by split, the child for all others.
        leaf_values: by leaf, what it adds to the logit.
    """

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    categories: tuple[tuple[int, ...], ...]
    missing_left: tuple[bool, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaf_values: tuple[float, ...]

    @property
    def depth(self) -> int:
        """Splits on the longest way to a leaf."""
        depths = [0] * len(self.columns)
        deepest = 0
        for split in range(len(self.columns)):  # a split comes after its parent
            deepest = max(deepest, depths[split] + 1)
            for child in (self.left[split], self.right[split]):
                if child >= 0:
                    depths[child] = depths[split] + 1
        return deepest


class Trees:
    """Gradient-boosted trees on the columns of a feature set: leaf values add up to a logit.

    Args:
        columns: list of str. What each column holds, as `ctr_keras.trees.columns` names it.
        trees: list of `Tree`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("site"), label=Label("click"), vocabulary_sizes={"site": 3}
    ... )
    >>> stump = Tree((0,), (0.0,), ((1, 3),), (False,), (-1,), (-2,), (0.5, -0.5))
    >>> trees = Trees(["site of 4 ids"], [stump])
    >>> trees.check(features)
    >>> trees.leaf_features.id_count  # 0 and two leaves
    3

    References:
        Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017.
    """

    def __init__(self, columns: Iterable[str], trees: Iterable[Tree]) -> None:
        self.columns = tuple(columns)
        self.trees = tuple(trees)
        if not self.trees:
            raise ValueError("there is no tree")

    def check(self, features: FeatureSet) -> None:
        """Checks that the trees were grown on the columns of these features.

        Raises:
            ValueError: naming the first column that differs.
        """
        there = column_names(features)
        for name in self.columns:
            if name not in there:
                raise ValueError(
                    f"the trees split on a column that the features lack: {name}; grow trees on "
                    "these features (for columns of crossed features set crossed=true)"
                )
        if self.columns != tuple(there):
            raise ValueError(
                f"the trees were grown on {len(self.columns)} columns, and the features have "
                f"{len(there)}: grow trees on these features"
            )

    @property
    def leaf_features(self) -> FeatureSet:
        """A feature set with a categorical field for each tree, whose values are its leaves."""
        return FeatureSet(
            *(
                Categorical(f"tree_{number}", hash_buckets=len(tree.leaf_values))
                for number, tree in enumerate(self.trees)
            ),
            label=Label("click"),
            vocabulary_sizes={},
        )

    def to_dict(self) -> Config:
        """A JSON-ready description, read back by `from_dict`."""
        trees = [dataclasses.asdict(tree) for tree in self.trees]
        return {"version": FORMAT_VERSION, "columns": list(self.columns), "trees": trees}

    @classmethod
    def from_dict(cls, config: Config) -> Trees:
        """The inverse of `to_dict`.

        Raises:
            ValueError: for another version.
        """
        if config.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"trees have format version {config.get('version')!r}; this library reads "
                f"{FORMAT_VERSION}"
            )
        return cls(config["columns"], [_tree(tree) for tree in config["trees"]])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `trees.json`."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trees:
        """Reads a `trees.json`, or that of the folder of a LightGBM run.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it does not hold trees, naming the file.
        """
        if os.path.isdir(path):
            path = os.path.join(path, "trees.json")
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"there is no {os.fspath(path)}: trees are the folder of a finished run of "
                "LightGBM, or its trees.json"
            )
        with open(path, encoding="utf-8") as file:
            try:
                return cls.from_dict(json.load(file))
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                raise ValueError(f"{os.fspath(path)} does not hold trees: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trees) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def _tree(config: Config) -> Tree:
    values = {name: tuple(value) for name, value in config.items()}
    values["categories"] = tuple(tuple(places) for places in values["categories"])
    return Tree(**values)
