"""Statistics of prepared data: what each feature holds, split by split.

In the order of the data: `counts.py` what is counted of values and merged, within a bounded memory,
`counted.py` of all features, with its file; `columns.py` the values of each feature in some rows,
`step.py` the step of the job; `summary.py` the numbers that people read, `distance.py` how far
values are from those of training; `expectations.py` what `expect:` declares; `protos.py` the
formats of TensorFlow Data Validation; `files.py` what is in a folder; `comparison.py` one folder
next to an earlier one; `page.py` the page.
"""

from collections.abc import Mapping
from typing import Any

FILE = "statistics.json"  # in a prepared folder


def labels_of(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """By label what of a summary depends on it, all in the same places."""
    return {summary["label"]: summary, **summary.get("more_labels", {})}
