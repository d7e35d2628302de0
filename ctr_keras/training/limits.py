"""Limits of what a run is measured to be."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ctr_keras.settings import did_you_mean


@dataclasses.dataclass(frozen=True)
class Limit:
    """The least or the most that a metric may be.

    Args:
        metric: str. A key of what `evaluate_run` returns.
        is_least: bool. Whether it is the least.
        value: float.

    Example:

    >>> Limit.read("auc>=0.7").check({"auc": 0.69})
    Traceback (most recent call last):
    ValueError: auc is 0.69, not >= 0.7
    """

    metric: str
    is_least: bool
    value: float

    @classmethod
    def read(cls, text: str) -> "Limit":
        """That of `METRIC>=VALUE` or `METRIC<=VALUE`.

        Raises:
            ValueError: for another text.
        """
        match = re.fullmatch(r"\s*(\w+)\s*([<>])=\s*([-+.\deE]+)\s*", text)
        try:
            if match:
                return cls(match[1], match[2] == ">", float(match[3]))
        except ValueError:  # no number
            pass
        raise ValueError(f"--require {text}: expected METRIC>=VALUE or METRIC<=VALUE")

    def check(self, measured: Mapping[str, Any]) -> None:
        """Checks what `evaluate_run` has returned.

        Raises:
            ValueError: if the metric is beyond the limit, or there is no such metric.
        """
        numbers = {k: v for k, v in measured.items() if isinstance(v, int | float)}
        if self.metric not in numbers:
            raise ValueError(f"no metric {self.metric!r}{did_you_mean(self.metric, numbers)}")
        found = numbers[self.metric]
        if not (found >= self.value if self.is_least else found <= self.value):
            sign = ">=" if self.is_least else "<="
            raise ValueError(f"{self.metric} is {found:.6g}, not {sign} {self.value:g}")
