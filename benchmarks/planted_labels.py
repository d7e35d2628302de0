"""Models of two labels on a log whose truth is known: a click, and a purchase after it.

    python -m benchmarks.planted --log labels

60,000 training rows and 20,000 each for validation and tests: 6 fields of 40 values. The logit of a
click is a number a value and random tables of two pairs of fields, that of a purchase after a click
half of these and as much of its own, a table of a third pair among it. A fifth of the rows are
clicks, about a sixth of the clicks purchases. Models have their defaults; DeepFM and FNN learn one
label each, the others both. The table has the test AUC by label, and of purchases among clicks,
means over the seeds with their standard deviation.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import build_model, start_at_click_rate
from ctr_keras.optimizers import SparseAdam
from ctr_keras.types import Array, Rows

LABELS = ("click", "purchase")
ONE_LABEL, SEVERAL = ("DeepFM", "FNN"), ("SharedBottom", "ESMM", "MMoE", "PLE")
ROWS = (60_000, 20_000, 20_000)
FIELDS, VALUES = 6, 40
CLICK_PAIRS, PURCHASE_PAIR = ((0, 1), (2, 3)), (4, 5)
CLICK_RATE, PURCHASE_RATE = 0.2, 0.1  # the latter of all rows, if all of them were clicks
BATCH_SIZE, EPOCHS, RATE = 1000, 10, 1e-3


class Log(NamedTuple):
    """Features, rows of three splits, and the test rows' probability of each label."""

    features: FeatureSet
    splits: Sequence[Rows]
    truth: Array


def labels_log(seed: int) -> Log:
    """The log of a seed."""
    draw = np.random.default_rng([seed, 3])
    values = draw.integers(VALUES, size=(sum(ROWS), FIELDS))
    click = _effect(draw, values, CLICK_PAIRS)
    purchase = 0.5 * click + _effect(draw, values, (PURCHASE_PAIR,))
    clicks = _chances(click, CLICK_RATE)
    purchases = _chances(purchase, PURCHASE_RATE)
    is_click = draw.random(len(values)) < clicks
    is_purchase = is_click & (draw.random(len(values)) < purchases)
    sizes = {f"f{field}": VALUES for field in range(FIELDS)}
    features = FeatureSet(
        *map(Categorical, sizes), label=[*map(Label, LABELS)], vocabulary_sizes=sizes
    )
    starts = [features.id_ranges[name].stop - VALUES for name in sizes]
    inputs = (values + starts).astype("int32")
    labels = np.stack([is_click, is_purchase], axis=1).astype("float32")
    ends = np.cumsum([0, *ROWS])
    splits = [
        ({"categorical": inputs[start:end]}, labels[start:end])
        for start, end in itertools.pairwise(ends)
    ]
    truth = np.stack([clicks, clicks * purchases], axis=1)
    return Log(features, splits, truth[ends[-2] :])


def _effect(draw: np.random.Generator, values: Array, pairs: Sequence[tuple[int, int]]) -> Array:
    """A number a value, and tables of pairs, for each row."""
    logits = draw.normal(scale=0.5, size=(FIELDS, VALUES))[np.arange(FIELDS), values].sum(axis=1)
    for i, j in pairs:
        logits += draw.normal(size=(VALUES, VALUES))[values[:, i], values[:, j]]
    return logits


def _chances(logits: Array, rate: float) -> Array:
    """Probabilities of logits that are shifted until their mean is as it should be."""
    low, high = -20.0, 20.0
    for _ in range(40):
        shift = (low + high) / 2
        chances: Array = 1 / (1 + np.exp(-logits - shift))
        low, high = (shift, high) if chances.mean() < rate else (low, shift)
    return chances


def tested(model: str, log: Log, names: Sequence[str], seed: int) -> dict[str, Array]:
    """The test scores of each label, after the pass of the least validation loss."""
    keras.utils.set_random_seed(seed)
    places = [LABELS.index(name) for name in names]
    train, validation, test = ((inputs, labels[:, places]) for inputs, labels in log.splits)
    built = build_model(model, log.features.with_labels(names))
    start_at_click_rate(built, train[1].mean(axis=0).tolist())
    built.compile(SparseAdam(RATE), "binary_crossentropy", jit_compile=False)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    built.fit(
        *train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=validation,
        callbacks=[stop],
        verbose=0,
    )
    scores = built.predict(test[0], batch_size=4096, verbose=0)
    return dict(zip(names, scores.T, strict=True))


def measured(seed: int) -> dict[str, list[float]]:
    """By name in the table the AUC of each label, and that of purchases among clicks."""
    log = labels_log(seed)
    scores: dict[str, Mapping[str, Array]] = {"truth": dict(zip(LABELS, log.truth.T, strict=True))}
    for model in ONE_LABEL:
        alone = [tested(model, log, [name], seed) for name in LABELS]
        scores[f"{model}, a model a label"] = alone[0] | alone[1]
    for model in SEVERAL:
        scores[model] = tested(model, log, LABELS, seed)
    return {name: _aucs(log, of) for name, of in scores.items()}


def _aucs(log: Log, scores: Mapping[str, Array]) -> list[float]:
    clicks, purchases = log.splits[-1][1].T
    clicked = clicks == 1
    after_click = (scores["purchase"] / scores["click"])[clicked]
    return [
        metrics.auc(clicks, scores["click"]),
        metrics.auc(purchases, scores["purchase"]),
        metrics.auc(purchases[clicked], after_click),
    ]


def print_table(seeds: Sequence[int]) -> None:
    """Measures and prints the table."""
    found: dict[str, list[list[float]]] = {}
    for seed in seeds:
        for name, aucs in measured(seed).items():
            found.setdefault(name, []).append(aucs)
            print(f"seed {seed}, {name}: {aucs}", flush=True)
    print("| model | click | purchase | purchase among clicks |\n|---|---|---|---|")
    for name, of_seeds in found.items():
        means, deviations = np.mean(of_seeds, axis=0), np.std(of_seeds, axis=0, ddof=1)
        cells = (f"{m:.4f} ± {d:.4f}" for m, d in zip(means, deviations, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
