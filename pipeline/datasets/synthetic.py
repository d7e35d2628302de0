"""A click log in Criteo's layout whose truth is known, of any size, the same for everyone.

Ground truth. The category of field `Ck` is drawn by Zipf's law from a vocabulary of its own size; a
number is an integer with a long tail; a share of the values is missing. A click's log odds are

    bias + sum over planted pairs (a, b) of effect_ab[value of a, value of b] + slope * ln(1 + I1)

with standard normal effects times `PAIR_SCALE`; a missing value is a value of its own. No planted
field has an effect by itself beyond what its pairs average to, so a model needs the interactions.
`truth.json` next to the log records all of it, and the AUC and log loss that the true probabilities
reach on these rows: no model can do better but by chance.
"""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ctr_keras.features.labels import remedy
from ctr_keras.files import write_json
from ctr_keras.types import Array
from pipeline.datasets.base import Dataset
from pipeline.datasets.criteo import CATEGORICAL, NUMERIC, TABLE, criteo_features

PLANTED_PAIRS = (("C1", "C2"), ("C3", "C4"), ("C5", "C6"), ("C1", "C5"))
PAIR_SCALE = 0.9
SLOPE = 0.3
BIAS = -2.0
MISSING_SHARE = 0.05
SHARD_ROWS = 100_000

# The planted fields are small enough for their pairs to be learned; the others reach 10,000 values.
_VOCABULARY_SIZES = dict(
    zip(CATEGORICAL, (4, 5, 4, 6, 5, 4, *np.geomspace(3, 10_000, 20).astype(int)), strict=True)
)


def synthetic() -> Dataset:
    """The log that `write_synthetic_log` writes: a folder of part-*.tsv."""
    return Dataset("synthetic", criteo_features(min_count=20), TABLE, pattern="part-*.tsv")


def write_synthetic_log(path: str, rows: int, seed: int = 0, broken: float = 0.0) -> None:
    """Writes a log, shard by shard, in memory that does not grow with `rows`.

    Args:
        path: str. A folder; made if it is not there.
        rows: int. Rows in all, broken ones included.
        seed: int. Another seed gives another log with the same truth. Defaults to `0`.
        broken: float. Share of rows to spoil, each in one of the ways of `BREAKAGES` in turn.
            Defaults to `0.0`.

    Raises:
        FileExistsError: if the folder holds a log already.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> write_synthetic_log(folder, rows=1000)
    >>> sorted(os.listdir(folder))
    ['part-00000.tsv', 'truth.json']
    """
    os.makedirs(path, exist_ok=True)
    if any(name.startswith("part-") for name in os.listdir(path)):
        raise FileExistsError(f"{path} holds a log already")
    effects = _effects()
    truth = _Truth()
    for shard, start in enumerate(range(0, rows, SHARD_ROWS)):
        rng = np.random.default_rng([seed, shard])
        columns, label, probability = _draw(rng, min(SHARD_ROWS, rows - start), effects)
        lines = _lines(label, columns)
        for i in rng.choice(len(lines), round(len(lines) * broken), replace=False):
            lines[i] = BREAKAGES[i % len(BREAKAGES)][1](lines[i])
        with open(os.path.join(path, f"part-{shard:05d}.tsv"), "wb") as file:
            file.write(b"".join(lines))
        truth.add(label, probability)
    description = {"rows": rows, "seed": seed, "planted_pairs": PLANTED_PAIRS}
    description |= {"pair_scale": PAIR_SCALE, "slope": SLOPE, "bias": BIAS, **truth.describe()}
    write_json(description, os.path.join(path, "truth.json"))


def _effects() -> dict[tuple[str, str], Array]:
    rng = np.random.default_rng(20190207)
    return {
        (a, b): PAIR_SCALE * rng.normal(size=(_VOCABULARY_SIZES[a] + 1, _VOCABULARY_SIZES[b] + 1))
        for a, b in PLANTED_PAIRS
    }


def _draw(
    rng: np.random.Generator, rows: int, effects: dict[tuple[str, str], Array]
) -> tuple[dict[str, Array], Array, Array]:
    """Columns of codes (0 is missing) and numbers (NaN is missing), labels, true probabilities."""
    columns = {}
    for name in NUMERIC:
        values = np.floor(rng.lognormal(1.5, 1.5, rows))
        columns[name] = np.where(rng.random(rows) < MISSING_SHARE, np.nan, values)
    for name, size in _VOCABULARY_SIZES.items():
        weights = 1 / np.arange(1, size + 1)
        codes = 1 + rng.choice(size, rows, p=weights / weights.sum())
        columns[name] = np.where(rng.random(rows) < MISSING_SHARE, 0, codes)
    logit = BIAS + SLOPE * np.log1p(np.nan_to_num(columns["I1"]))
    for (a, b), effect in effects.items():
        logit = logit + effect[columns[a], columns[b]]
    probability = 1 / (1 + np.exp(-logit))
    return columns, (rng.random(rows) < probability).astype(np.int8), probability


def _lines(label: Array, columns: dict[str, Array]) -> list[bytes]:
    arrays = {"label": pa.array(label)}
    for name, values in columns.items():
        if name in NUMERIC:
            arrays[name] = pa.array(values, from_pandas=True).cast(pa.int64())
        else:
            strings = [f"{name.lower()}v{i}" for i in range(1, values.max() + 1)]
            arrays[name] = pa.array([None, *strings]).take(pa.array(values))
    sink = io.BytesIO()
    options = pyarrow.csv.WriteOptions(
        include_header=False, delimiter="\t", quoting_style="none", quoting_header="none"
    )
    pyarrow.csv.write_csv(pa.table(arrays), sink, options)
    return sink.getvalue().splitlines(keepends=True)


def _cell(line: bytes, index: int, value: bytes) -> bytes:
    cells = line.rstrip(b"\n").split(b"\t")
    cells[index] = value
    return b"\t".join(cells) + b"\n"


# The reason in the report, and what breaks a row for it.
BREAKAGES = (
    ("expected 40 columns, got 39", lambda line: line.rstrip(b"\n").rpartition(b"\t")[0] + b"\n"),
    ("expected 40 columns, got 41", lambda line: b"0\t" + line),
    (f"label label is '2', {remedy(criteo_features().label)}", lambda line: _cell(line, 0, b"2")),
    ("I3 is not a number", lambda line: _cell(line, 3, b"many")),
    ("I5 is beyond 3.4e+38, the largest float32", lambda line: _cell(line, 5, b"1e999")),
    ("invalid UTF-8", lambda line: _cell(line, 20, b"\xff\xfe")),
    ("empty line", lambda line: b"\n"),
)


class _Truth:
    """Adds up what the true probabilities reach, in constant memory."""

    _BINS = 100_000

    def __init__(self) -> None:
        self._counts = np.zeros((2, self._BINS), np.int64)  # by label and probability
        self._loss = 0.0

    def add(self, label: Array, probability: Array) -> None:
        bins = (probability * self._BINS).astype(int)
        for value in (0, 1):
            self._counts[value] += np.bincount(bins[label == value], minlength=self._BINS)
        self._loss -= np.log(np.where(label == 1, probability, 1 - probability)).sum()

    def describe(self) -> dict[str, float]:
        negatives, positives = self._counts.astype(float)
        below = np.cumsum(negatives) - negatives / 2  # half of those in the same bin
        rows, clicks = self._counts.sum(), positives.sum()
        return {
            "click_rate": clicks / rows,
            "best_auc": float(positives @ below / (clicks * (rows - clicks))),
            "best_log_loss": float(self._loss / rows),
        }
