"""Gradient-boosted trees as tensors: what LightGBM grows, in a Keras model that needs no LightGBM.

`grow` makes `Trees` of packed inputs, `TreeLeaves` is the layer that finds the leaves of a row.
"""

from ctr_keras.trees.boosting import Grown, grow
from ctr_keras.trees.leaves import TreeLeaves
from ctr_keras.trees.settings import BoostingSettings
from ctr_keras.trees.trees import Tree, Trees

__all__ = ["BoostingSettings", "Grown", "Tree", "TreeLeaves", "Trees", "grow"]
