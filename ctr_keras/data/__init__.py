"""Prepared data: a split to learn from, some of its rows in memory, or the samples left for tests.

A split is parsed from TFRecord shards in every pass, or read from a decoded cache or from memory.
"""

from ctr_keras.data.examples import Examples, open_examples
from ctr_keras.data.records import Samples, click_rates, read_rows, read_samples

__all__ = ["Examples", "Samples", "click_rates", "open_examples", "read_rows", "read_samples"]
