"""Optimizers: sparse ones for tables, GRDA for gates, and several side by side in one `fit`."""

from ctr_keras.optimizers.adam import SparseAdam
from ctr_keras.optimizers.grda import GRDA
from ctr_keras.optimizers.others import SparseAdagrad, SparseFtrl, SparseSGD
from ctr_keras.optimizers.routed import AlternatingOptimizer, RoutedOptimizer

__all__ = [
    "GRDA",
    "AlternatingOptimizer",
    "RoutedOptimizer",
    "SparseAdagrad",
    "SparseAdam",
    "SparseFtrl",
    "SparseSGD",
]
