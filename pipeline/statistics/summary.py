"""From counts to the numbers that people read, as JSON has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ctr_keras.features import Crossed, Feature, FeatureSet, Numeric
from ctr_keras.types import Array
from pipeline.splits import SPLITS
from pipeline.statistics.counted import Column, Counted
from pipeline.statistics.counts import Counts, Moments
from pipeline.statistics.distance import distance, entropy

TOP = 20  # values that are shown, and buckets of numbers
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Summary = dict[str, Any]


def summarize(counted: Counted | None, features: FeatureSet) -> Summary:
    """Statistics of all features.

    Args:
        counted: Counted or None. What `CountFeatures` gives; None for no rows.
        features: FeatureSet.

    Returns:
        A dict for JSON: `label`, the column; `splits`, rows and click rate of each; `features`, by
        name, `kind` and `column`, for each split rows, missing, distinct values and, of numbers
        and lengths of lists, their moments; `values`, the most frequent values or buckets of
        numbers with rows and click rate in each split; `information`, `drift` and `unseen`. Rows,
        distinct values, moments and quantiles are of the rows that are there; click rates,
        information and drift make up for training rows of label 0 that were left out of a sample.
        Where there are several labels, these are of the first, and `more_labels` has by name click
        rates and information of the others, in the same places.
    """
    first, *others = (
        _summary(name, counted and counted.of_label(place), features)
        for place, name in enumerate(features.label_names)
    )
    more = {of["label"]: _of_label(of) for of in others}
    return {**first, **({"more_labels": more} if more else {})}


def _summary(label: str, counted: Counted | None, features: FeatureSet) -> Summary:
    """Statistics with the click rates of one label."""
    weights = np.ones((len(SPLITS), 2))
    weights[0, 0] = 1 / features.label.negatives_kept
    if counted is None:
        counted = Counted(np.zeros((len(SPLITS), 2), np.int64), {})
    plain = [
        f for f in features.features if not isinstance(f, Crossed) and f.name in counted.columns
    ]
    return {
        "label": label,
        "splits": {
            split: {"rows": int(rows.sum()), "click_rate": _rate(rows * weight)}
            for split, rows, weight in zip(SPLITS, counted.rows, weights, strict=True)
        },
        "features": {
            feature.name: _feature(feature, counted.columns[feature.name], counted.rows, weights)
            for feature in plain
        },
    }


def _of_label(summary: Summary) -> Summary:
    """What of a summary depends on the label, in the places that it has there."""
    return {
        "splits": {
            name: {"click_rate": of["click_rate"]} for name, of in summary["splits"].items()
        },
        "features": {
            name: {
                "splits": {
                    split: {"missing_click_rate": found["missing_click_rate"]}
                    for split, found in feature["splits"].items()
                },
                "values": [{"click_rate": value["click_rate"]} for value in feature["values"]],
                "information": feature["information"],
            }
            for name, feature in summary["features"].items()
        },
    }


def _feature(feature: Feature, column: Column, rows: Array, weights: Array) -> Summary:
    is_number = isinstance(feature, Numeric)
    buckets = _buckets(column.counts) if is_number else _top(column.counts)
    cells = _cells(buckets) if is_number else column.counts.counts
    information, chance, entropy = _information(column, cells[:, 0], rows[0], weights[0])
    return {
        "kind": feature.kind,
        "column": getattr(feature, "column", None) or feature.name,
        **({"time_part": part} if (part := getattr(feature, "time_part", None)) else {}),
        "splits": {
            split: _split(column, index, rows[index], is_number)
            | {"missing_click_rate": _rate((rows - column.rows)[index] * weights[index])}
            for index, split in enumerate(SPLITS)
        },
        "values": [_entry(names, of, weights) for names, of in buckets],
        "values_error": column.counts.error,
        "information": {
            "nats": information,
            "by_chance": chance,
            "of_label": entropy,
        },
        "drift": {
            "measure": "Jensen-Shannon" if is_number else "L-infinity",
            **{
                split: _drift(cells * weights, column.counts.total * weights, index, is_number)
                for index, split in enumerate(SPLITS)
                if index
            },
        },
        "unseen": {split: _unseen(column, index) for index, split in enumerate(SPLITS) if index},
    }


def _split(column: Column, index: int, rows: Array, is_number: bool) -> Summary:
    total, present = int(rows.sum()), int(column.rows[index].sum())
    distinct, error = column.sample.distinct(index)
    found: Summary = {
        "rows": total,
        "missing": total - present,
        "missing_share": (total - present) / total if total else 0.0,
        "distinct": distinct,
        "distinct_error": error,
    }
    if column.lengths is not None:
        found["length"] = _moments(column.lengths, index)
    elif is_number and present:
        quantiles = _quantiles(column.counts, index, _QUANTILES)
        found |= _moments(column.counts, index, column.moments)
        found["quantiles"] = {f"{q:g}": of for q, of in zip(_QUANTILES, quantiles, strict=True)}
    return found


def _moments(counts: Counts, split: int, moments: Moments | None = None) -> Summary:
    """Those of the numbers of a split, from their counts as long as these are exact."""
    if counts.error and moments is not None:
        return {
            # Digits that do not depend on the order in which rows were added.
            "mean": float(f"{moments.mean[split]:.9g}"),
            "deviation": float(f"{moments.deviation[split]:.9g}"),
            "low": float(moments.low[split]),
            "high": float(moments.high[split]),
            "zeros": int(moments.zeros[split]),
        }
    rows = counts.counts[:, split].sum(1)
    values, rows = counts.values[rows > 0], rows[rows > 0]
    if not len(values):
        return {}
    mean = (values * rows).sum() / rows.sum()
    return {
        "mean": float(mean),
        "deviation": float(np.sqrt(((values - mean) ** 2 * rows).sum() / rows.sum())),
        "low": float(values[0]),
        "high": float(values[-1]),
        "zeros": int(rows[values == 0].sum()),
    }


def _quantiles(counts: Counts, split: int, shares: Sequence[float]) -> list[float]:
    """The value of rank `ceil(share * rows)`: the first with so many rows up to it."""
    after = np.cumsum(counts.counts[:, split].sum(1))
    ranks = np.maximum(np.ceil(np.array(shares) * after[-1]), 1)
    return [float(value) for value in counts.values[np.searchsorted(after, ranks)]]


Bucket = tuple[tuple[Any, ...], Array]  # a value, or low and high; (splits, 2)


def _top(counts: Counts) -> list[Bucket]:
    """The most frequent values, in all splits together."""
    rows = counts.counts.sum((1, 2))
    table = pa.table({"value": counts.values, "rows": rows, "place": np.arange(len(rows))})
    top = table.sort_by([("rows", "descending"), ("value", "ascending")]).slice(0, TOP)
    order, names = top["place"].to_numpy(), top["value"].to_pylist()
    return [((name,), cells) for name, cells in zip(names, counts.counts[order], strict=True)]


def _buckets(counts: Counts) -> list[Bucket]:
    """Buckets of numbers that hold about as many rows of training each: lowest and highest."""
    if not len(counts):
        return []
    split = 0 if counts.counts[:, 0].any() else int(np.argmax(counts.counts.sum((0, 2))))
    shares = np.arange(1, TOP) / TOP
    # A bucket ends with the value that has so many rows up to it.
    ends = np.unique(_quantiles(counts, split, [float(share) for share in shares]))
    bucket = np.searchsorted(ends, counts.values)
    found = []
    for index in np.unique(bucket):
        members = bucket == index
        values = counts.values[members]
        names = (float(values[0]), float(values[-1]))
        found.append((names, counts.counts[members].sum(0)))
    return found


def _cells(buckets: Sequence[Bucket]) -> Array:
    """(buckets, splits, 2)"""
    return np.array([cells for _, cells in buckets], np.int64).reshape(-1, len(SPLITS), 2)


def _entry(names: tuple[Any, ...], cells: Array, weights: Array) -> Summary:
    keys = ("value",) if len(names) == 1 else ("low", "high")
    return {
        **dict(zip(keys, names, strict=True)),
        "rows": {split: int(of.sum()) for split, of in zip(SPLITS, cells, strict=True)},
        "click_rate": {split: _rate(of) for split, of in zip(SPLITS, cells * weights, strict=True)},
    }


def _rate(cells: Array) -> float | None:
    return float(cells[1] / cells.sum()) if cells.sum() else None


def _information(
    column: Column, told: Array, rows: Array, weights: Array
) -> tuple[float, float, float]:
    """Mutual information in nats of the label and the values or buckets of training that are told
    apart, what as many values would have by chance, and the label's entropy.

    A missing value is one, too, and so are together those that are not told apart. In lists, each
    item is a row with its label.
    """
    missing, others = rows - column.rows[0], column.counts.total[0] - told.sum(0)
    cells = np.concatenate([told, missing[None], others[None]])
    cells = cells[cells.sum(1) > 0]
    if not len(cells):
        return 0.0, 0.0, 0.0
    counted, cells = cells.sum(), cells * weights
    total = cells.sum()
    of_label = entropy(cells.sum(0) / total)
    information = of_label + entropy(cells.sum(1) / total) - entropy(cells.ravel() / total)
    return max(information, 0.0), (len(cells) - 1) / (2 * counted), of_label


def _drift(cells: Array, total: Array, split: int, is_number: bool) -> float | None:
    """How far the values of a split are from those of training; None if one of them has none."""
    if not total[0].sum() or not total[split].sum():
        return None
    train, other = (cells[:, index].sum(1) / total[index].sum() for index in (0, split))
    return distance(train, other, is_number)


def _unseen(column: Column, split: int) -> Summary:
    """The values of a split that training has not; nothing is said if that has none."""
    train, total = (int(column.counts.total[index].sum()) for index in (0, split))
    if not train or not total:
        return {"values": None, "rows": None, "rows_share": None}
    values, rows = column.sample.unseen(split)
    return {"values": values, "rows": rows, "rows_share": rows / total}
