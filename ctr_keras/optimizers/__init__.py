"""Optimizers: sparse and dense ones for tables, GRDA for gates, several in one `fit`, and
pruning; schedules and averages of weights."""

from ctr_keras.optimizers.adam import DenseAdam, SparseAdam
from ctr_keras.optimizers.averages import averaged
from ctr_keras.optimizers.grda import GRDA
from ctr_keras.optimizers.others import SparseAdagrad, SparseFtrl, SparseSGD
from ctr_keras.optimizers.pruning import PruningOptimizer
from ctr_keras.optimizers.routed import AlternatingOptimizer, RoutedOptimizer
from ctr_keras.optimizers.schedules import WarmUp

__all__ = [
    "GRDA",
    "AlternatingOptimizer",
    "DenseAdam",
    "PruningOptimizer",
    "RoutedOptimizer",
    "SparseAdagrad",
    "SparseAdam",
    "SparseFtrl",
    "SparseSGD",
    "WarmUp",
    "averaged",
]
