"""Optimizers: sparse ones for tables, GRDA for gates, and several side by side in one `fit`."""

from ctr_keras.optimizers.grda import GRDA
from ctr_keras.optimizers.routed import AlternatingOptimizer, RoutedOptimizer
from ctr_keras.optimizers.sparse import SparseAdagrad, SparseAdam, SparseFtrl, SparseSGD

__all__ = [
    "GRDA",
    "AlternatingOptimizer",
    "RoutedOptimizer",
    "SparseAdagrad",
    "SparseAdam",
    "SparseFtrl",
    "SparseSGD",
]
