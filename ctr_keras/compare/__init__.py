"""Runs on the same data, side by side: which is better, by how much, and how sure that is."""

from ctr_keras.compare.bench import Bench, run_bench
from ctr_keras.compare.comparison import Comparison, Entry, compare_runs
from ctr_keras.compare.text import to_markdown

__all__ = ["Bench", "Comparison", "Entry", "compare_runs", "run_bench", "to_markdown"]
