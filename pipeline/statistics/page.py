"""Statistics as one HTML page that needs no other file and no network, and as a few lines."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import markupsafe

from ctr_keras.files import open_output
from ctr_keras.pages import render
from pipeline.datasets.declared import load_dataset
from pipeline.earlier import at_hand, declaration_file
from pipeline.statistics import labels_of
from pipeline.statistics.comparison import anomalies, compare
from pipeline.statistics.expectations import Expectation, check_expectations
from pipeline.statistics.files import read_summary

_MOMENTS = ("mean", "deviation", "low", "high")
_QUANTILES = ("0.05", "0.5", "0.95")
_MOSTLY, _DRIFTS, _NEW, _TELLS = 0.5, 0.1, 0.1, 0.5  # from which on a feature is to be looked at
_BAR = 5.0  # rem, of the largest


def render_page(title: str, summary: Mapping[str, Any], unusual: Sequence[tuple[str, str]]) -> str:
    """The page.

    Args:
        title: str. What the data are called.
        summary: dict. What `pipeline.statistics.summary.summarize` gives.
        unusual: list of pairs of str. The name of a feature, and what it does.
    """
    filters: dict[str, Callable[..., object]] = {
        "count": "{:,}".format,
        "decimal": _decimal,
        "distance": _distance,
        "distinct": _distinct,
        "kind": _kind,
        "moments": _moment_titles,
        "moments_of": _moments,
        "named": _named,
        "new": _new,
        "percent": _percent,
        "rate_cells": _rate_cells,
        "row_cells": _row_cells,
        "shown": _shown,
        "told": told,
    }
    labels = labels_of(summary)
    shares = [told(feature) for of in labels.values() for feature in of["features"].values()]
    own = {"title": title, "labels": labels, "remarks": unusual, "most": max([*shares, 1e-9])}
    return render(__package__, "page.html", filters, **own, **summary)


def show(data: str, out: str | None = None, against: str | None = None) -> Iterator[str]:
    """Writes the page of a prepared folder; what is unusual, and where the page is.

    Args:
        data: str. The folder, which may be a joined one.
        out: str or None. The page. Defaults to `None`: `statistics.html` in the folder, or
            `statistics-against-NAME.html`.
        against: str or None. An earlier folder, to whose training rows, schema and limits all rows
            of this one are compared, as if they were its test split. Defaults to `None`: each
            folder by itself.

    Raises:
        FileNotFoundError: if a folder has no statistics.
        ValueError: if the two are of other features.
        UnexpectedDataError: at the end, if a limit of `expect` is broken.
    """
    title = f"Statistics of {_name(data)}"
    if against is None:
        summary = read_summary(data)
        unusual = list(remarks(summary))
        page = "statistics.html"
    else:
        summary = compare(data, against)
        unusual = [*remarks(summary), *anomalies(summary, against)]
        title += f" (test) against {_name(against)} (train, validation)"
        page = f"statistics-against-{_name(against)}.html"
    out = out or os.path.join(data, page)
    with open_output(out) as file:
        file.write(render_page(title, summary, unusual).encode())
    for split, found in summary["splits"].items():
        rates = {name: of["splits"][split]["click_rate"] for name, of in labels_of(summary).items()}
        said = ", ".join(f"{name} {_percent(rate)}" for name, rate in rates.items())
        yield f"{split}: {found['rows']:,} rows, {said}"
    yield from (f"{name} {remark}" for name, remark in unusual)
    yield f"page: {out}"
    yield from check_expectations(summary, _expected(data))


def _name(folder: str) -> str:
    return os.path.basename(folder.rstrip("/"))


def _expected(folder: str) -> Mapping[str, Expectation]:
    """The limits that a prepared folder's own declaration has."""
    with at_hand(folder) as earlier:
        declared = declaration_file(None, earlier)
        return load_dataset(declared).expect if declared else {}


def remarks(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is unusual: the name of a feature, and what it does."""
    for name, feature in summary["features"].items():
        train = feature["splits"]["train"]
        if train["rows"] and train["missing"] == train["rows"]:
            yield name, "is missing in every row of train"
        elif train["distinct"] == 1 and not train["missing"]:
            yield name, "is always the same in train"
        elif train["missing_share"] > _MOSTLY:
            yield name, f"is missing in {_percent(train['missing_share'])} of train"
        for label, of in labels_of(summary).items():
            share = told(of["features"][name])
            if share > _TELLS:
                yield name, f"tells {_percent(share)} of {label}: is it known before that?"
        if said := _over(feature["drift"], _DRIFTS, _distance):
            yield name, f"drifts from train: {said}"
        new = {split: found["rows_share"] for split, found in feature["unseen"].items()}
        if feature["kind"] != "numeric" and (said := _over(new, _NEW, _percent)):
            yield name, f"has values that train has not: {said}"


def _over(shares: Mapping[str, Any], limit: float, spell: Callable[[float], str]) -> str:
    """What is above a limit in the validation and the test split."""
    of_splits = ((split, shares.get(split)) for split in ("validation", "test"))
    above = ((split, share) for split, share in of_splits if share is not None and share > limit)
    return ", ".join(f"{spell(share)} in {split}" for split, share in above)


def told(feature: Mapping[str, Any]) -> float:
    """The share of the label's entropy that a feature tells, less what as many values would tell by
    chance."""
    information = feature["information"]
    nats = max(information["nats"] - information["by_chance"], 0.0)
    return float(nats / information["of_label"]) if nats else 0.0


def _new(feature: Mapping[str, Any], split: str) -> str:
    """The share of rows with a value that training has not; between numbers there are others."""
    is_number = feature["kind"] == "numeric"
    return "" if is_number else _percent(feature["unseen"][split]["rows_share"])


def _kind(feature: Mapping[str, Any]) -> str:
    part = feature.get("time_part")
    return f"{part} of a time" if part else str(feature["kind"]).replace("_", "-")


def _distinct(found: Mapping[str, Any]) -> str:
    error = found["distinct_error"]
    return f"{found['distinct']:,}" + (f" \N{PLUS-MINUS SIGN} {error:.1%}" if error else "")


def _moment_titles(feature: Mapping[str, Any]) -> list[str]:
    if feature["kind"] == "numeric":
        return [*_MOMENTS, "zeros", *(f"{float(q):.0%} below" for q in _QUANTILES)]
    is_list = any("length" in found for found in feature["splits"].values())
    return [f"{moment} of lengths" for moment in _MOMENTS] if is_list else []


def _moments(found: Mapping[str, Any], feature: Mapping[str, Any]) -> list[float | None]:
    if feature["kind"] == "numeric":
        quantiles = found.get("quantiles", {})
        of = [found.get(key) for key in (*_MOMENTS, "zeros")]
        return [*of, *(quantiles.get(q) for q in _QUANTILES)]
    lengths = found.get("length", {})
    return [lengths.get(key) for key in _MOMENTS] if _moment_titles(feature) else []


def _named(value: Mapping[str, Any]) -> str:
    if "value" in value:
        return str(value["value"])
    low, high = _decimal(value["low"]), _decimal(value["high"])
    return low if low == high else f"{low} to {high}"


def _shown(feature: Mapping[str, Any]) -> str:
    values = len(feature["values"])
    if feature["kind"] == "numeric":
        error = feature["values_error"]
        return f"{values} buckets" + (f", their edges to {error:.2%} of the rows" if error else "")
    error = feature["values_error"]
    return f"The {values} most frequent values" + (
        f"; each may have up to {error:,.0f} rows more" if error else ""
    )


def _row_cells(value: Mapping[str, Any], feature: Mapping[str, Any]) -> markupsafe.Markup:
    """Rows of a value, those of training with a bar."""
    most = max((v["rows"]["train"] for v in feature["values"]), default=0)
    rows = value["rows"]
    others = (_number(f"{rows[split]:,}") for split in ("validation", "test"))
    bar = _bar(rows["train"], most, f"{rows['train']:,}")
    return markupsafe.Markup("").join([bar, *others])


def _rate_cells(place: int, feature: Mapping[str, Any]) -> markupsafe.Markup:
    """Click rates of a feature's value, that of training with a bar."""
    rates = (v["click_rate"]["train"] for v in feature["values"])
    most = max((rate for rate in rates if rate is not None), default=0.0)
    rate = feature["values"][place]["click_rate"]
    others = (_number(_percent(rate[split])) for split in ("validation", "test"))
    bar = _bar(rate["train"] or 0.0, most, _percent(rate["train"]))
    return markupsafe.Markup("").join([bar, *others])


def _bar(part: float, most: float, text: str) -> markupsafe.Markup:
    width = _BAR * part / most if most else 0.0
    bar = markupsafe.Markup(
        '<td class="track"><span class="bar" style="width: {}rem"></span>{}</td>'
    )
    return bar.format(f"{width:.2f}", text)


def _number(text: str) -> markupsafe.Markup:
    return markupsafe.Markup('<td class="number">{}</td>').format(text)


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.1%}" if share == 0 or share >= 0.01 else f"{share:.2%}"


def _distance(distance: float | None) -> str:
    return "" if distance is None else f"{distance:.4f}"


def _decimal(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e12 else f"{value:.4g}"
