"""Optimizers: GRDA for gates, and several optimizers side by side in one `fit`."""

from ctr_keras.optimizers.grda import GRDA
from ctr_keras.optimizers.routed import AlternatingOptimizer, RoutedOptimizer

__all__ = ["GRDA", "AlternatingOptimizer", "RoutedOptimizer"]
