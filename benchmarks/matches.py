"""What models of a history learn of a match with the candidate, and of its order.

    python -m benchmarks.matches [--data DIR/movielens-1m] [--seeds 2]

Three synthetic logs of 60,000 rows have a planted match: a click is likelier where the candidate is
in the history (`same id`), or the nearer its hidden vector is to those of the history (`dot
product`), or to those of its last three behaviours alone (`order`). With `--data`, the first rows
of data that `benchmarks.logs` prepared are measured instead. Models learn in batches of 1,024,
those with a preset of what that says, for at most ten passes. The table has
test AUC and log loss, means over the seeds.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import click
import keras
import numpy as np
from keras import ops

from ctr_keras.data import read_rows
from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
from ctr_keras.layers import FieldEmbedding, feature_inputs
from ctr_keras.metrics import auc, log_loss
from ctr_keras.models import BST, DIEN, DIN, ETA, LR, MIAN, SDIM, SIM, model_arguments
from ctr_keras.models.parts import dense_logit, probability, tower
from ctr_keras.optimizers import SparseAdam
from ctr_keras.presets import find_preset
from ctr_keras.types import Array, Rows

ROWS = {"train": 48_000, "validation": 6_000, "test": 6_000}
ROWS_READ = {"train": 60_000, "validation": 15_000, "test": 30_000}  # of prepared data
LENGTH = 10  # of a history
DIM = 4  # of hidden vectors
RECENT = 3  # behaviours that count where the order does
EPOCHS, PATIENCE = 10, 2
PAPER = find_preset("MIAN", "books")


class Log(NamedTuple):
    """Rows in splits, and what the truth gives those of the test split, where it is known."""

    features: FeatureSet
    splits: Mapping[str, Rows]
    truth: Array | None = None

    def read_by(self, model: keras.Model, split: str) -> Rows:
        """What a model reads of a split, and the labels."""
        inputs, labels = self.splits[split]
        return {tensor.name: inputs[tensor.name] for tensor in model.inputs}, labels


def same_id_log() -> Log:
    """Half of the candidates are in the history, where a click is likelier."""
    draw, items = np.random.default_rng(0), 500
    item, history = _drawn(draw, items)
    item = np.where(draw.random(len(item)) < 0.5, history[:, 0], item)
    match = 2.35 * (history == item[:, None]).any(axis=1)
    return _log(draw, items, item, history, match)


def dot_product_log() -> Log:
    """Items have hidden vectors: a click is the likelier, the more alike they are."""
    draw, items = np.random.default_rng(0), 100
    item, history = _drawn(draw, items)
    vectors = draw.normal(size=(items, DIM))
    match = 4.0 * (vectors[item] * vectors[history].mean(axis=1)).sum(axis=1)
    return _log(draw, items, item, history, match)


def order_log() -> Log:
    """A click is the likelier, the more alike the candidate and the last behaviours are.

    The others do not count, so that a history without its order tells less.
    """
    draw, items = np.random.default_rng(0), 100
    item, history = _drawn(draw, items)
    vectors = draw.normal(size=(items, DIM))
    match = 2.2 * (vectors[item] * vectors[history[:, -RECENT:]].mean(axis=1)).sum(axis=1)
    return _log(draw, items, item, history, match)


def _drawn(draw: np.random.Generator, items: int) -> tuple[Array, Array]:
    rows = sum(ROWS.values())
    return draw.integers(items, size=rows), draw.integers(items, size=(rows, LENGTH))


def _log(draw: np.random.Generator, items: int, item: Array, history: Array, match: Array) -> Log:
    """Clicks by match and popularity; user and hour say nothing."""
    rows = len(item)
    logits = match - match.mean() + 0.45 * draw.normal(size=items)[item] - 0.5
    log = {
        "item": item.astype(str).tolist(),
        "user": draw.integers(10, size=rows).astype(str).tolist(),
        "hour": draw.integers(24, size=rows).astype(str).tolist(),
        "history": history.astype(str).tolist(),
        "click": (draw.random(rows) < 1 / (1 + np.exp(-logits))).astype(int).tolist(),
    }
    features = FeatureSet(
        Categorical("item", group="item"),
        Categorical("user", group="user"),
        Categorical("hour", group="context"),
        Sequence("history", vocabulary_of="item", max_length=LENGTH),
        label=Label("click"),
    ).fit(log)
    inputs, labels = features.pack(log), features.labels(log)
    ends = np.cumsum(list(ROWS.values()))
    places = {split: slice(end - ROWS[split], end) for split, end in zip(ROWS, ends, strict=True)}
    splits = {
        split: ({name: values[place] for name, values in inputs.items()}, labels[place])
        for split, place in places.items()
    }
    return Log(features, splits, logits[places["test"]])


def prepared_log(data: str) -> Log:
    """The first rows of prepared data."""
    features = FeatureSet.load(f"{data}/features.json")
    splits = {split: read_rows(data, split, features, count) for split, count in ROWS_READ.items()}
    return Log(features, splits)


def mean_pool(features: FeatureSet, dim: int = 16) -> keras.Model:
    """A tower on the fields and the mean of the history's vectors, with MIAN's tower and spread."""
    inputs = feature_inputs(features)
    (history,) = features.sequences
    fields, vectors = FieldEmbedding(
        features, dim, sequences=[history.name], embeddings_initializer=0.1
    )(inputs)
    present = ops.cast(ops.not_equal(inputs[history.name], 0), "float32")[:, :, None]
    mean = ops.sum(vectors * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1)
    flat = ops.reshape(fields, (-1, fields.shape[1] * dim))
    deep = tower(ops.concatenate([flat, mean], axis=-1), (400, 400, 400))
    return keras.Model(inputs, probability(dense_logit(deep)))


def tested(
    build: Callable[[FeatureSet], keras.Model], log: Log, batch_size: int, seed: int
) -> Array:
    """AUC and log loss of the test rows, after the pass of the least validation loss."""
    model, _ = trained(build, log, batch_size, seed)
    return measured(model, log)


def measured(model: keras.Model, log: Log) -> Array:
    """AUC and log loss on the test rows."""
    inputs, labels = log.read_by(model, "test")
    scores = model.predict(inputs, batch_size=4096, verbose=0)
    return np.array([auc(labels, scores), log_loss(labels, scores)])


def trained(
    build: Callable[[FeatureSet], keras.Model], log: Log, batch_size: int, seed: int
) -> tuple[keras.Model, list[float]]:
    """The model after the pass of the least validation loss, and that loss after each pass."""
    keras.utils.set_random_seed(seed)
    model = build(log.features)
    model.compile(SparseAdam(1e-3), "binary_crossentropy", jit_compile=False)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)
    history = model.fit(
        *log.read_by(model, "train"),
        batch_size=batch_size,
        epochs=EPOCHS,
        validation_data=log.read_by(model, "validation"),
        callbacks=[stop],
        verbose=0,
    )
    return model, history.history["val_loss"]


# Name in the table: the builder, and the size of a batch.
MODELS: Mapping[str, tuple[Callable[[FeatureSet], keras.Model], int]] = {
    "logistic regression": (LR, 1024),
    "mean pool and tower": (mean_pool, 1024),
    "DIN": (DIN, 1024),
    "DIEN": (DIEN, 1024),
    "BST": (BST, 1024),
    "SIM": (SIM, 1024),
    "ETA": (ETA, 1024),
    "SDIM": (SDIM, 1024),
    "MIAN": (MIAN, 1024),
    "MIAN, preset=books": (
        functools.partial(MIAN, **{k: PAPER[k] for k in PAPER.keys() & model_arguments("MIAN")}),
        PAPER["batch_size"],
    ),
}


def logs(data: str | None) -> Iterator[tuple[str, Log]]:
    """The logs to measure on, with their names."""
    if data is not None:
        yield data, prepared_log(data)
        return
    yield "same id", same_id_log()
    yield "dot product", dot_product_log()
    yield "order", order_log()


@click.command(help=__doc__)
@click.option("--data", help="Prepared data with a history.")
@click.option("--seeds", default=2, type=click.IntRange(1))
def main(data: str | None, seeds: int) -> None:
    print("| log | model | AUC | log loss |\n|---|---|---|---|")
    for name, log in logs(data):
        if log.truth is not None:
            print(f"| {name} | truth | {auc(log.splits['test'][1], log.truth):.3f} | |")
        for model, (build, batch_size) in MODELS.items():
            found = [tested(build, log, batch_size, seed) for seed in range(seeds)]
            area, loss = np.mean(found, axis=0)
            print(f"| {name} | {model} | {area:.3f} | {loss:.3f} |", flush=True)


if __name__ == "__main__":
    main()
