"""Gradient-boosted trees as a layer: from packed inputs to the leaf of each tree."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers.inputs import PackedLayer
from ctr_keras.trees.columns import column_values, id_ranges
from ctr_keras.trees.trees import Trees
from ctr_keras.types import Array, Config, Inputs, Shape, Tensor

_BITS = 31  # of a word of a set of categories, an int32 that is not negative


@keras.saving.register_keras_serializable(package="ctr_keras")
class TreeLeaves(PackedLayer):
    """Finds the leaf that a row reaches in each tree, as ids of `trees.leaf_features`.

    The leaves are those that LightGBM's `predict(pred_leaf=True)` gives for these columns: leaf `n`
    of a tree has the id `n` above the first of the tree. They are packed `categorical` inputs for
    any layer on `trees.leaf_features`, one column a tree.

    All trees go down together, one level a step, as many steps as the deepest has: leaves send
    rows to themselves. There are no weights: the trees are part of the config.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        trees: Trees grown on these features, or their `to_dict()`.
        check_ids: bool. Whether an id that is not of its field gives ids that are of no tree, -1.
            Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `ctr_keras.layers.feature_inputs`).

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, trees)` int32.

    Raises:
        ValueError: if the trees were grown on other columns.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.trees import Tree
    >>> features = FeatureSet(
    ...     Categorical("site"), label=Label("click"), vocabulary_sizes={"site": 3}
    ... )
    >>> stump = Tree((0,), (0.0,), ((1, 3),), (False,), (-1,), (-2,), (0.5, -0.5))
    >>> layer = TreeLeaves(features, Trees(["site of 4 ids"], [stump]))
    >>> ids = layer({"categorical": np.array([[0], [1], [2], [4]])})  # missing, OOV, two sites
    >>> ops.convert_to_numpy(ids).tolist()
    [[2], [2], [1], [1]]

    References:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014,
        Section 3.1.
    """

    def __init__(
        self,
        features: FeatureSet | Config,
        trees: Trees | Config,
        *,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        if not isinstance(trees, Trees):
            trees = Trees.from_dict(trees)
        trees.check(features)
        self.features = features
        self.trees = trees
        self.check_ids = check_ids
        self._nodes = _joined(trees, [len(ids) for ids in id_ranges(features)])

    def call(self, inputs: Inputs) -> Tensor:
        columns = column_values(self.features, inputs)
        nodes = self._nodes

        def descend(_: Tensor, node: Tensor) -> Tensor:
            column, words, left, right, missing = (
                ops.take(facts, node, axis=0) for facts in nodes.facts
            )
            value = ops.take_along_axis(columns, column, axis=1)
            is_missing = ops.isnan(value)
            is_number = ops.less(words, 0)
            # A bit a category: category c is bit c % 31 of word c // 31. A remainder rather than
            # a bitwise and, which ONNX and LiteRT lack.
            category = ops.cast(
                ops.where(ops.logical_or(is_missing, is_number), 0.0, value), "int32"
            )
            place = ops.clip(words + category // _BITS, 0, len(nodes.words) - 1)  # ids may be wrong
            word = ops.take(nodes.words, place, axis=0)
            bit = ops.mod(ops.right_shift(word, category % _BITS), 2)
            is_below = ops.less_equal(value, ops.take(nodes.thresholds, node, axis=0))
            goes_left = ops.where(is_number, is_below, ops.equal(bit, 1))
            return ops.where(is_missing, missing, ops.where(goes_left, left, right))

        rows = ops.shape(columns)[0]
        start = ops.broadcast_to(ops.convert_to_tensor(nodes.roots), (rows, len(nodes.roots)))
        reached = ops.fori_loop(0, nodes.depth, descend, start)
        leaves = ops.take(nodes.leaf_ids, reached, axis=0)
        return ops.where(self._is_known(inputs), leaves, -1) if self.check_ids else leaves

    def _is_known(self, inputs: Inputs) -> Tensor:
        """Whether all ids of a row are of their fields, `(batch, 1)`."""
        known = []
        for check in (check for check in self.input_checks if check.fields is not None):
            ids = inputs[check.name]
            is_of_field = ops.logical_and(
                ops.greater_equal(ids, check.low), ops.less_equal(ids, check.high)
            )
            known.append(ops.logical_or(ops.equal(ids, 0), is_of_field))
        if not known:
            return ops.ones((1, 1), "bool")
        return ops.all(ops.concatenate(known, axis=1), axis=1, keepdims=True)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "features": self.features.to_dict(),
            "trees": self.trees.to_dict(),
            "check_ids": self.check_ids,
        }

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape:
        return (next(iter(input_shape.values()))[0], len(self.trees.trees))

    def compute_output_spec(self, inputs: Inputs) -> keras.KerasTensor:
        shape = self.compute_output_shape({name: x.shape for name, x in inputs.items()})
        return keras.KerasTensor(shape, "int32")


class _Nodes(NamedTuple):
    """The splits and leaves of all trees, one after the other; all but roots and words by node."""

    facts: list[Array]  # column, first word or -1, left child, right child, child if missing
    thresholds: Array
    leaf_ids: Array
    roots: Array  # by tree
    words: Array  # of sets of categories
    depth: int


def _joined(trees: Trees, sizes: Sequence[int]) -> _Nodes:
    """All trees' nodes, splits before leaves; `sizes` are the ids of each categorical column."""
    facts: list[tuple[int, int, int, int, int]] = []
    thresholds, leaf_ids, roots = [], [], []
    words = [0]  # the one that numbers are looked up in
    next_id = itertools.count(1)
    for tree in trees.trees:
        roots.append(len(facts))
        first_leaf = len(facts) + len(tree.columns)
        for split, column in enumerate(tree.columns):
            left, right = (
                roots[-1] + child if child >= 0 else first_leaf - 1 - child
                for child in (tree.left[split], tree.right[split])
            )
            first_word = -1
            if tree.categories[split]:
                first_word = len(words)
                words += _bits(tree.categories[split], sizes[column])
            missing = left if tree.missing_left[split] else right
            facts.append((column, first_word, left, right, missing))
            thresholds.append(_rounded_down(tree.thresholds[split]))
            leaf_ids.append(0)
        for leaf in range(first_leaf, first_leaf + len(tree.leaf_values)):
            facts.append((0, -1, leaf, leaf, leaf))
            thresholds.append(np.float32(0))
            leaf_ids.append(next(next_id))
    return _Nodes(
        list(np.array(facts, "int32").T),
        np.array(thresholds, "float32"),
        np.array(leaf_ids, "int32"),
        np.array(roots, "int32"),
        np.array(words, "int32"),
        max(tree.depth for tree in trees.trees),
    )


def _bits(categories: Sequence[int], size: int) -> list[int]:
    """As many words as the column has ids, so that no place is outside of them."""
    words = [0] * -(-size // _BITS)
    for category in categories:
        words[category // _BITS] |= 1 << category % _BITS
    return words


def _rounded_down(threshold: float) -> np.float32:
    """The largest float32 that is not above: a float32 is at most the one where it is the other."""
    largest = float(np.finfo("float32").max)  # so are all numbers that are not missing
    rounded = np.float32(min(max(threshold, -largest), largest))
    is_above = float(rounded) > max(threshold, -largest)  # as doubles
    return np.nextafter(rounded, np.float32("-inf")) if is_above else rounded
