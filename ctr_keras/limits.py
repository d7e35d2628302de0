"""Limits of what a run is measured to be."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ctr_keras import metrics
from ctr_keras.settings import did_you_mean

_OVER_BASELINE = ("baseline_auc", "rela_impr")


@dataclasses.dataclass(frozen=True)
class Limit:
    """The least or the most that a metric may be.

    Args:
        metric: str. A key of what `evaluate_run` returns; of a model of several labels `LABEL.KEY`.
        is_least: bool. Whether it is the least.
        value: float.

    Example:

    >>> Limit.read("auc>=0.7").check({"auc": 0.69})
    Traceback (most recent call last):
    ValueError: auc is 0.69, not >= 0.7
    >>> Limit.read("buy.auc>=0.7").check({"labels": {"buy": {"auc": 0.69}}})
    Traceback (most recent call last):
    ValueError: buy.auc is 0.69, not >= 0.7
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
        match = re.fullmatch(r"\s*(\S.*?)\s*([<>])=\s*([-+.\deE]+)\s*", text)
        try:
            if match:
                return cls(match[1], match[2] == ">", float(match[3]))
        except ValueError:  # no number
            pass
        raise ValueError(f"--require {text}: expected METRIC>=VALUE or METRIC<=VALUE")

    def check_among(self, names: Iterable[str]) -> None:
        """Checks that the metric has one of these names.

        Raises:
            ValueError: if it has not, with the one that may be meant.
        """
        names = [*names]
        if self.metric not in names:
            raise ValueError(f"no metric {self.metric!r}{did_you_mean(self.metric, names)}")

    def check(self, measured: Mapping[str, Any]) -> None:
        """Checks what `evaluate_run` has returned.

        Raises:
            ValueError: if the metric is beyond the limit, or there is no such metric.
        """
        numbers = _numbers(measured)
        self.check_among(numbers)
        found = numbers[self.metric]
        if not (found >= self.value if self.is_least else found <= self.value):
            sign = ">=" if self.is_least else "<="
            raise ValueError(f"{self.metric} is {found:.6g}, not {sign} {self.value:g}")


def metric_names(
    k: int = 10, labels: Iterable[str] = (), *, by_group: bool = True, over_baseline: bool = True
) -> list[str]:
    """The names of what `evaluate_run` measures, known before anything is evaluated.

    Args:
        k: int. As in `evaluate_run`. Defaults to `10`.
        labels: list of str. Those that a model predicts. Defaults to `()`: one.
        by_group: bool. Whether rows have groups. Defaults to `True`.
        over_baseline: bool. Whether there is a baseline. Defaults to `True`.

    Example:

    >>> metric_names(labels=["click", "buy"], by_group=False)[:2]
    ['click.auc', 'click.log_loss']
    """
    two_rows = [0, 1], [0.25, 0.75], None, [0, 0] if by_group else None
    names = [*_numbers(metrics.report(*two_rows, k=k))]
    names += _OVER_BASELINE if over_baseline else ()
    labels = [*labels]
    if len(labels) < 2:
        return names
    return [f"{label}.{name}" for label in labels for name in names]


def _numbers(measured: Mapping[str, Any]) -> dict[str, float]:
    """What may have a limit, by its name."""
    if "labels" in measured:
        return {
            f"{label}.{name}": value
            for label, of_label in measured["labels"].items()
            for name, value in _numbers(of_label).items()
        }
    return {name: value for name, value in measured.items() if isinstance(value, int | float)}
