"""What a data set is expected to be like, as `expect:` declares it, and what it is like."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ctr_keras.settings import Fraction, check_settings


class UnexpectedDataError(RuntimeError):
    """Data are not as `expect:` declares them. The message has a line for each limit."""


@dataclasses.dataclass(frozen=True)
class Expectation:
    """Limits of one feature; what is not given is not looked at.

    Args:
        missing: float or None. The share of the rows without a value, in every split.
        drift: float or None. How far the validation and the test split may be from training:
            between 0 and 1, L-infinity of categories and Jensen-Shannon of numbers.
        unseen: float or None. The share of the values of the validation and the test split, in
            rows, that the training split has not.
        otherwise: str. `"fail"` or `"warn"`. Defaults to `"fail"`.

    Example:

    >>> Expectation(missing=0.01, otherwise="warn").drift is None
    True
    """

    missing: Fraction | None = None
    drift: Fraction | None = None
    unseen: Fraction | None = None
    otherwise: Literal["fail", "warn"] = "fail"

    def __post_init__(self) -> None:
        check_settings(self)


def check_expectations(
    summary: Mapping[str, Any], expected: Mapping[str, Expectation]
) -> list[str]:
    """Compares statistics with what is expected of them, by feature.

    Returns:
        A line for each limit that is broken and of which only to warn.

    Raises:
        UnexpectedDataError: if other limits are broken.

    Example:

    >>> drift = {"measure": "L-infinity", "validation": 0.02, "test": 0.3}
    >>> new = {"validation": {"rows_share": 0.0}, "test": {"rows_share": 0.1}}
    >>> site = {"splits": {"train": {"missing_share": 0.2}}, "drift": drift, "unseen": new}
    >>> summary = {"splits": {"train": {"rows": 10}}, "features": {"site": site}}
    >>> limits = Expectation(missing=0.3, drift=0.1, otherwise="warn")
    >>> check_expectations(summary, {"site": limits})
    ['site drifts from train to test by 0.3 (L-infinity), expected at most 0.1']
    """
    broken: dict[str, list[str]] = {"fail": [], "warn": []}
    for name, limits in expected.items():
        for line in _broken(summary["features"][name], limits):
            broken[limits.otherwise].append(f"{name} {line}")
    compared = [
        name for name, of in expected.items() if of.drift is not None or of.unseen is not None
    ]
    if compared and not summary["splits"]["train"]["rows"]:
        names = ", ".join(compared)
        broken["warn"].append(
            f"{names}: drift and new values are not looked at without training rows"
        )
    if broken["fail"]:
        raise UnexpectedDataError("\n".join(broken["fail"]))
    return broken["warn"]


def _broken(feature: Mapping[str, Any], limits: Expectation) -> Iterator[str]:
    found: list[tuple[float | None, float | None, str]] = [
        (limits.missing, split["missing_share"], f"is missing in a share of {{:.3g}} of {name}")
        for name, split in feature["splits"].items()
    ]
    measure = feature["drift"]["measure"]
    for name in ("validation", "test"):
        drift, new = feature["drift"][name], feature["unseen"][name]["rows_share"]
        found += [
            (limits.drift, drift, f"drifts from train to {name} by {{:.3g}} ({measure})"),
            (limits.unseen, new, f"is new to train in a share of {{:.3g}} of {name}"),
        ]
    for limit, share, said in found:
        if limit is not None and share is not None and share > limit:
            yield f"{said.format(share)}, expected at most {limit:.3g}"
