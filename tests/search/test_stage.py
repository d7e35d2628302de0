"""A search that is killed at any step and re-run finds the same plan."""

import csv
import functools
import itertools
import os
import re
import tempfile

import keras
import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks, planted_tables
from ctr_keras.layers import recompute_statistics
from ctr_keras.search import AIMSearch, AutoFISSearch, OptInterSearch
from ctr_keras.search.rows import SearchRows
from ctr_keras.search.stage import Stage
from tests.optimizers.training import weights
from tests.parameters import first_of

pytestmark = pytest.mark.usefixtures("eager")

DATA = planted_clicks([(0, 1)], fields=4, categories=5, train_rows=1000, test_rows=300)
COMMON = {"batch_size": 100, "verbose": False}


def crossed_data():
    """Features, training and validation rows whose first pair is memorizable."""
    tables = {(0, 1): np.random.default_rng(0).normal(size=(4, 4))}
    data = planted_tables(tables, 0, 3, 4, train_rows=400, test_rows=300, crossed=True)
    return data.features, data.train, data.test


class KilledError(Exception):
    """What a kill looks like from inside."""


@pytest.fixture
def kill_after(monkeypatch):
    """Lets a search read so many batches in all, and then kills it."""
    original = SearchRows.stream

    def kill(steps):
        left = iter(range(steps))

        def stream(self, *args, **kwargs):
            for batch in original(self, *args, **kwargs):
                if next(left, None) is None:
                    raise KilledError(f"after {steps} batches")
                yield batch

        monkeypatch.setattr(SearchRows, "stream", stream)

    yield kill
    monkeypatch.undo()


def search_and_rows(method):
    """A search of two stages, or of methods, or with noise and an early stop; what it takes."""
    if method == "autofis":
        search = AutoFISSearch(base="FM", order=3, c=0.1, epochs=2, rounds=2, **COMMON)
        return search, (DATA.features, DATA.train, None)
    if method == "aim":
        given = {"functions": ["inner", "outer"], "keep": 3, "epochs": 1, "rounds": 2}
        given |= {"model_args": {"dim": 2}}
        return AIMSearch(**given, **COMMON), (DATA.features, DATA.train, None)
    if method == "drawn":
        return OptInterSearch(keep=1, epochs=2, rounds=2, **COMMON), crossed_data()
    noise = {"gumbel_noise": True, "gate_learning_rate": 0.1}
    noisy = OptInterSearch(keep=None, epochs=3, rounds=2, **noise, **COMMON)
    return noisy, crossed_data()


def history(folder):
    with open(os.path.join(folder, "history.csv"), newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def undisturbed(method):
    """The plan that a search finds, and its history."""
    search, rows = search_and_rows(method)
    with tempfile.TemporaryDirectory() as folder:
        return search.search(*rows, folder=folder), history(folder)


@pytest.mark.parametrize(
    ("method", "killed_at"),
    first_of(
        [
            pytest.param("optinter", 11, marks=pytest.mark.backend),
            ("autofis", 17),
            ("autofis", 3),
            ("aim", 17),
            ("drawn", 5),
        ],
        2,
    ),
)
def test_killed_and_given_again_it_finds_the_same(method, killed_at, kill_after, tmp_path):
    plan, rounds = undisturbed(method)
    search, rows = search_and_rows(method)
    kill_after(killed_at)
    # Keras on TensorFlow raises an error of its own, whose message has that of the stream.
    with pytest.raises(Exception, match=f"after {killed_at} batches"):
        search.search(*rows, folder=str(tmp_path))
    kill_after(10**6)
    assert search.search(*rows, folder=str(tmp_path)) == plan
    assert history(tmp_path) == rounds
    kill_after(0)
    assert search.search(*rows, folder=str(tmp_path)) == plan  # from what is on disk


def test_history_has_every_round_of_every_stage():
    _, rows = undisturbed("autofis")
    assert [(row["stage"], row["round"]) for row in rows] == [
        (stage, str(number)) for stage in "12" for number in range(1, 5)
    ]
    assert rows[3]["gates"].endswith("of 6 gates open")


def test_progress_is_shown(capsys):
    search = AutoFISSearch(base="FM", c=0.1, epochs=1, rounds=2, **COMMON | {"verbose": True})
    search.search(DATA.features, DATA.train)
    assert re.search(
        r"stage 1, round 2 of 2: training loss 0\.\d+, \d of 6 gates open, ",
        capsys.readouterr().out,
    )


def test_an_early_stop_returns_the_plan_of_the_best_epoch(monkeypatch):
    """Of the four AUCs that are given the third is no better, so the second epoch's plan counts."""
    features, train, validation = crossed_data()
    given = {"keep": None, "gate_learning_rate": 0.5, "temperature_rate": 0.99 / 4, **COMMON}
    search = OptInterSearch(epochs=4, rounds=2, **given)
    second, third = (
        OptInterSearch(epochs=epochs, rounds=1, **given).search(features, train)
        for epochs in (2, 3)
    )
    aucs = iter([0.6, 0.7, 0.7, 0.9])
    monkeypatch.setattr("ctr_keras.metrics.auc", lambda labels, scores: next(aucs))
    assert search.search(features, train, validation) == second
    assert second != third
    assert next(aucs) == 0.9  # the fourth was not trained


@pytest.mark.backend
def test_rates_fall_after_each_round():
    search = AutoFISSearch(rounds=4, batch_size=100, epochs=1)
    stage = Stage(search, DATA.features, SearchRows(DATA.features, DATA.train), None, None)
    assert (stage.epoch_steps, stage.round_steps, stage.steps) == (10, 3, 12)
    rates = [float(stage.decayed(1.0, 0.5)(step)) for step in (0, 2, 3, 11)]
    assert rates == [1.0, 1.0, 0.5, 0.125]


@pytest.mark.backend
@pytest.mark.parametrize(
    "settings",
    [
        {"table_updates": "dense", "learning_rate_decay": 0.5, "max_gradient_norm": 1.0},
        {"table_optimizer": "adagrad", "schedule": "cosine", "bilevel": True, "loss": "focal"},
    ],
)
def test_weights_learn_as_the_settings_say(settings, monkeypatch):
    """With a rate of 0 the gates alone move, by their own optimizer."""
    models, starts, real = [], [], Stage._compiled

    def compiled(self, gates):
        models.append(real(self, gates))
        starts.append(weights(models[-1]))
        return models[-1]

    monkeypatch.setattr(Stage, "_compiled", compiled)
    for rate in (0.0, 0.01):
        given = COMMON | settings | {"learning_rate": rate}
        AutoFISSearch(base="FM", c=0.01, epochs=1, rounds=2, **given).search(
            DATA.features, DATA.train, DATA.test
        )
    still, learned = map(weights, models)
    for path, value in starts[0].items():
        assert (still[path] == value).all() != path.endswith("gates"), path
        assert (learned[path] != value).any(), path


def test_batches_go_on_where_they_stopped():
    rows = SearchRows(DATA.features, DATA.train)
    inputs = keras.Input((4,), dtype="int32", name="categorical")
    model = keras.Model({"categorical": inputs}, keras.layers.Flatten()(inputs))
    whole = list(itertools.islice(rows.stream(model, 300, seed=1), 12))
    rest = list(itertools.islice(rows.stream(model, 300, seed=1, skip=7), 5))
    for (mine, my_clicks), (its, its_clicks) in zip(whole[7:], rest, strict=True):
        np.testing.assert_array_equal(mine["categorical"], its["categorical"])
        np.testing.assert_array_equal(my_clicks, its_clicks)
    epoch = np.concatenate([batch["categorical"] for batch, _ in whole[:4]])
    assert len(epoch) == 1000
    assert (np.sort(epoch, axis=0) == np.sort(DATA.train[0]["categorical"], axis=0)).all()
    assert (whole[0][0]["categorical"] != whole[4][0]["categorical"]).any()  # shuffled anew


def test_an_early_stop_is_decided_with_the_statistics_of_the_weights(monkeypatch):
    score, scored = SearchRows.score, []

    def checked(self, model):
        labels, expected = score(self, model)
        recompute_statistics(model, SearchRows(features, train).inputs_of(model, 400))
        np.testing.assert_allclose(score(self, model)[1], expected, 1e-4)
        scored.append(len(labels))
        return labels, expected

    monkeypatch.setattr(SearchRows, "score", checked)
    features, train, validation = crossed_data()
    tower = {"dim": 2, "cross_dim": 2, "hidden": [4], "normalization": "batch"}
    search = OptInterSearch(keep=None, model_args=tower, epochs=1, rounds=1, **COMMON)
    search.search(features, train, validation)
    assert scored == [300]
