"""Runs whose weights learn in other ways than by default: what counts, and kills in between."""

import dataclasses
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from ctr_keras import metrics
from ctr_keras.data import open_examples
from ctr_keras.features import FeatureSet, Label
from ctr_keras.training import TrainConfig, evaluate_run, load_run, train
from ctr_keras.training import run as run_module
from ctr_keras.training import validation as validation_module
from ctr_keras.training.evaluation import predict
from tests.data.shards import FEATURES, write_prepared
from tests.parameters import first_of
from tests.training.kills import call, copy_before
from tests.training.test_run import history, without_time

ROWS = {"train": 300, "validation": 200, "test": 10}
WEIGHTED = FeatureSet(
    *FEATURES.features,
    label=Label("click", weight="cost"),
    vocabulary_sizes=FEATURES.vocabulary_sizes,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", ROWS, WEIGHTED)


@pytest.fixture
def settings(prepared, tmp_path):
    return {
        **{"data": prepared, "model": "FM", "model_args": {"dim": 2}, "batch_size": 50},
        **{"learning_rate": 0.05, "epochs": 4, "patience": 9, "out": str(tmp_path / "run")},
    }


WAYS = {
    "plateau": {
        **{"schedule": "plateau", "monitor": "auc_by_group", "group": "a", "averaging": 0.9},
        **{"table_optimizer": "adagrad", "table_learning_rate": 0.5, "max_gradient_norm": 0.5},
    },
    "cosine": {
        **{"schedule": "cosine", "warmup_steps": 8, "loss": "focal", "label_smoothing": 0.1},
        **{"pairwise_weight": 0.5, "group": "b", "sample_weight": "cost", "averaging": 0.9},
    },
    "accumulated": {
        **{"table_updates": "dense", "gradient_accumulation_steps": 4, "optimizer": "adamw"},
        **{"schedule": "exponential", "learning_rate_decay": 0.7, "averaging": 0.9},
    },
    "exact": {"table_updates": "exact", "schedule": "plateau", "learning_rate_decay": 0.5},
}


@pytest.mark.parametrize(
    "name",
    first_of(
        [pytest.param("cosine", marks=pytest.mark.backend), "exact", "plateau", "accumulated"], 2
    ),
)
def test_a_killed_run_ends_bit_for_bit_as_if_it_had_not_been(name, settings, tmp_path, monkeypatch):
    undisturbed = TrainConfig(**settings | WAYS[name])
    killed = dataclasses.replace(undisturbed, out=str(tmp_path / "killed"))
    with monkeypatch.context() as patch:
        copy_before(
            patch, validation_module, "recompute_statistics", call(3), undisturbed.out, killed.out
        )
        report = train(undisturbed)
    assert len(history(killed.out)) == 2
    train(killed)
    rows = history(killed.out)
    assert without_time(rows) == without_time(history(undisturbed.out))
    assert rows[0]["train_loss"] > rows[-1]["train_loss"]
    models = [load_run(run)[0].get_weights() for run in (killed.out, undisturbed.out)]
    for weight, other in zip(*models, strict=True):
        np.testing.assert_array_equal(weight, other)
    again = evaluate_run(killed.out, "validation")
    assert again["log_loss"] == pytest.approx(report["validation"]["log_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("reported", "expected"), [({"label_mean": {"train": 0.2}}, 0.2), ({}, 0.5)]
)
def test_a_run_starts_at_the_click_rate_of_its_rows(
    reported, expected, prepared, settings, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    report = json.loads((data / "report.json").read_text())
    (data / "report.json").write_text(json.dumps(report | reported))
    changes = {"model": "LR", "model_args": {}, "learning_rate": 0.0, "epochs": 1}
    config = TrainConfig(**settings | changes | {"data": str(data), "calibrate": False})
    train(config)
    model, features, _ = load_run(config.out)
    _, scores = predict(model, open_examples(config.data, "test", features))
    np.testing.assert_allclose(scores, expected, 1e-5)


def test_the_rate_falls_after_each_evaluation_that_is_no_better(settings, monkeypatch):
    rates = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                rates.append(float(self.model.optimizer.learning_rate))

    aucs = iter([0.6, 0.7, 0.7, 0.5, 0.8, 0.8])
    real = metrics.evaluate
    monkeypatch.setattr(
        validation_module.metrics, "evaluate", lambda *rows: real(*rows) | {"auc": next(aucs)}
    )
    monkeypatch.setattr(run_module, "make_callbacks", lambda *_: [Look()])
    changes = {"schedule": "plateau", "monitor": "auc", "patience": 3, "epochs": 6}
    report = train(TrainConfig(**settings | changes))
    assert report["best_round"] == 5
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.005, 0.0005, 0.0005])


def test_the_best_model_is_that_of_the_monitored_metric(settings, monkeypatch):
    given = iter([0.4, 0.6, 0.3, 0.6])
    monkeypatch.setattr(validation_module.metrics, "auc_by_group", lambda *_: next(given))
    changes = {"monitor": "auc_by_group", "group": "a", "epochs": 4}
    report = train(TrainConfig(**settings | changes))
    assert report["best_round"] == 2  # as good is no better
    assert report["validation"]["auc_by_group"] == 0.6
    losses = [row["validation_log_loss"] for row in history(settings["out"])]
    assert np.argmin(losses) != 1
    best = evaluate_run(settings["out"], "validation")["log_loss"]
    assert best == pytest.approx(losses[1], rel=1e-6)


def test_the_auc_by_group_is_that_of_the_metrics(settings):
    config = TrainConfig(**settings | {"group": "b", "epochs": 1})
    report = train(config)
    model, features, _ = load_run(config.out)
    inputs = ["categorical", "numeric", "genres"]
    (columns, labels), *_ = open_examples(config.data, "validation", features, inputs=inputs).read(
        1000
    )
    scores = keras.ops.convert_to_numpy(model(columns))
    expected = metrics.auc_by_group(labels, scores, np.asarray(columns["categorical"])[:, [1]])
    assert report["validation"]["auc_by_group"] == pytest.approx(expected, abs=1e-6)


def test_averages_are_evaluated_and_kept(settings):
    """As the rate is 0 after the first epoch, weights rest and their averages come to them."""
    changes = {"averaging": 0.8, "epochs": 3, "schedule": "exponential", "learning_rate_decay": 0.0}
    config = TrainConfig(**settings | changes)
    report = train(config)
    again = evaluate_run(config.out, "validation")
    assert again["log_loss"] == pytest.approx(report["validation"]["log_loss"], rel=1e-6)
    first, second, third = (row["validation_log_loss"] for row in history(config.out))
    assert abs(second - first) > 3 * abs(third - second) > 0


def untrained(settings, **changes):
    """The row of the only round of a run that learns nothing, its model and its batches."""
    still = settings | {"learning_rate": 0.0, "epochs": 1, "calibrate": False} | changes
    config = TrainConfig(**still, group="a", seed=3)
    train(config)
    model, features, _ = load_run(config.out)
    inputs = ["categorical", "numeric", "genres", "cost"]
    examples = open_examples(config.data, "train", features, inputs=inputs)
    stream = iter(examples.stream(config.batch_size, seed=3))
    batches = [next(stream) for _ in range(ROWS["train"] // config.batch_size)]
    scored = []
    for columns, labels in batches:
        columns = {name: np.asarray(values) for name, values in columns.items()}
        costs = columns.pop("cost")[:, 0]
        scores = np.ravel(keras.ops.convert_to_numpy(model(columns)))
        scored.append((np.ravel(labels), scores, costs, columns["categorical"][:, 0]))
    return history(config.out)[0], scored


def log_losses(labels, scores):
    return -np.where(labels == 1, np.log(scores), np.log(1 - scores))


@pytest.mark.backend
@pytest.mark.parametrize("way", first_of(["resident", "cached", "streamed"]))
def test_rows_weigh_what_the_data_say(way, settings, tmp_path):
    reading = {
        "resident": {"resident": True},
        "cached": {"resident": False, "cache": str(tmp_path / "cache")},
        "streamed": {"resident": False},
    }
    row, batches = untrained(settings, sample_weight="cost", **reading.get(way, {}))
    costs = [w * log_losses(y, p) for y, p, w, _ in batches]
    assert row["train_loss"] == pytest.approx(np.mean(costs), rel=1e-4)
    weights = [w for _, _, w, _ in batches]
    assert row["train_log_loss"] == pytest.approx(np.sum(costs) / np.sum(weights), rel=1e-4)


@pytest.mark.backend
def test_pairs_of_a_batch_are_those_of_a_group(settings):
    row, batches = untrained(settings, pairwise_weight=0.5)
    expected = []
    for labels, scores, _, groups in batches:
        logits = np.log(scores) - np.log(1 - scores)
        pairs = [
            np.log1p(np.exp(logits[j] - logits[i]))
            for i in np.flatnonzero(labels == 1)
            for j in np.flatnonzero((labels == 0) & (groups == groups[i]))
        ]
        expected.append(np.mean(log_losses(labels, scores)) + 0.5 * np.mean(pairs))
    assert row["train_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
    of_rows = np.mean([log_losses(y, p) for y, p, _, _ in batches])
    assert row["train_log_loss"] == pytest.approx(of_rows, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": "aa"}, "group=aa: unknown field 'aa'; did you mean 'a'"),
        (
            {"group": "genres"},
            "group=genres: rows are grouped by one category each, and 'genres' is",
        ),
        ({"sample_weight": "price"}, "sample_weight=price: the data's is 'cost'; declare `weight"),
        ({"callbacks": ["nowhere:Mine"]}, "callback 'nowhere:Mine': No module named 'nowhere'"),
    ],
)
def test_mistakes_are_named_before_the_folder_is_made(changes, message, settings):
    with pytest.raises(ValueError, match=message) as error:
        train(TrainConfig(**settings | changes))
    assert "\n" not in str(error.value)
    assert not pathlib.Path(settings["out"]).exists()
