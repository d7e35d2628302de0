"""OptInter memorizes what is memorizable and leaves noise alone."""

import keras
import numpy as np
import pytest
from keras import ops

from benchmarks.planted_log import planted_tables
from ctr_keras import models
from ctr_keras.search import OptInterSearch
from ctr_keras.search.closing import logit_of
from ctr_keras.search.optinter import _ChosenMethods
from tests.packed import inputs_of
from tests.parameters import WHOLE_ON_JAX, first_of

SETTINGS = {"batch_size": 500, "learning_rate": 1e-2, "gate_learning_rate": 0.05, "verbose": False}
SETTINGS |= {"rounds": 1, "keep": None}
MODEL = {"dim": 4, "cross_dim": 4, "hidden": [32]}
AUTHORS_SPREAD = {"embeddings_initializer": 1.0}


def data(seed=0, categories=20, rows=40_000):
    """The first pair has a random table; the other five are noise."""
    tables = {(0, 1): np.random.default_rng(seed).normal(size=(categories, categories))}
    sizes = {"train_rows": rows, "test_rows": 5000}
    return planted_tables(tables, seed, 4, categories, linear=0.0, crossed=True, **sizes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", first_of([pytest.param(0, marks=WHOLE_ON_JAX), 1]))
def test_a_memorizable_pair_is_memorized_and_noise_left_alone(seed):
    """With the authors' spread, and a temperature that falls over the first of six passes."""
    rows = data(seed)
    settings = {"temperature_rate": 0.99 / 80, "model_args": {**MODEL, **AUTHORS_SPREAD}}
    search = OptInterSearch(epochs=6, seed=seed, **settings, **SETTINGS)
    methods = {i.fields: i.function for i in search.search(rows.features, rows.train).interactions}
    assert methods.pop(("f0", "f1")) == "memorize"
    assert list(methods.values()).count("naive") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", first_of([pytest.param(0, marks=pytest.mark.backend), 1]))
def test_default_settings_memorize_the_pair_and_leave_noise_alone(seed, capsys):
    rows = data(seed)
    search = OptInterSearch(seed=seed, model_args=MODEL)
    methods = {i.fields: i.function for i in search.search(rows.features, rows.train).interactions}
    assert methods.pop(("f0", "f1")) == "memorize"
    assert set(methods.values()) == {"naive"}
    assert "1 memorize, 0 factorize, 5 naive" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("keep", first_of(["auto", 1]))
def test_a_product_of_two_vectors_is_factorized(keep):
    """Of 60 x 60 values few are seen often enough to be memorized."""
    draw = np.random.default_rng(3)
    table = draw.normal(size=(60, 2)) @ draw.normal(size=(2, 60))
    log = {"train_rows": 20_000, "test_rows": 10, "linear": 0.0, "noise": 1.0, "crossed": True}
    rows = planted_tables({(0, 1): table}, 3, 3, [60, 60, 5], **log)
    search = OptInterSearch(keep=keep, seed=3, model_args=MODEL, verbose=False)
    plan = search.search(rows.features, rows.train)
    found = {i.fields: (i.function, i.gate > 0) for i in plan.interactions}
    assert found == {
        ("f0", "f1"): ("factorize", True),
        ("f0", "f2"): ("naive", False),
        ("f1", "f2"): ("naive", False),
    }


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_rates_that_are_too_small_are_said_to_give_back_the_start(capsys):
    rows = data(categories=4, rows=1000)
    search = OptInterSearch(keep=None, gate_learning_rate=3e-5, model_args=MODEL)
    search.search(rows.features, rows.train)
    assert "nothing was learned: choices are those of the random start" in capsys.readouterr().out


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_what_is_found_can_be_retrained():
    rows = data(categories=4, rows=1000)
    search = OptInterSearch(epochs=1, model_args=MODEL, **SETTINGS)
    plan = search.search(rows.features, rows.train)
    assert len(plan.interactions) == 6
    assert all(1 / 3 <= interaction.gate <= 1 for interaction in plan.interactions)
    model = models.OptInter(rows.features, **MODEL, interactions=plan)
    counts = [i.function for i in plan.interactions].count
    assert model.get_layer("combination").output.shape[1] == counts("memorize") + counts(
        "factorize"
    )


def searched_model(monkeypatch, rows, **settings):
    """The model that a search has trained."""
    built = []

    def build(name, features, **arguments):
        built.append(models.OptInter(features, **arguments))
        return built[-1]

    monkeypatch.setattr("ctr_keras.search.optinter.build_model", build)
    OptInterSearch(model_args=MODEL, **SETTINGS | settings).search(
        rows.features, rows.train, rows.test if settings.get("bilevel") else None
    )
    return built[0]


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_the_temperature_falls_over_one_epoch_of_training_steps(monkeypatch):
    rows = data(categories=4, rows=1000)
    model = searched_model(monkeypatch, rows, epochs=1, batch_size=100)
    block = model.get_layer("combination")
    assert int(block.step) == 10
    assert float(block.temperature) == pytest.approx(0.01)
    model = searched_model(monkeypatch, rows, epochs=1, batch_size=100, temperature_rate=0.01)
    assert float(model.get_layer("combination").temperature) == pytest.approx(0.9)


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_one_step_moves_weights_and_logits_and_a_bilevel_one_in_turns(monkeypatch):
    rows = data(categories=4, rows=100)
    for bilevel, steps in ((False, [1, 1]), (True, [1, 1])):
        model = searched_model(monkeypatch, rows, epochs=1, batch_size=100, bilevel=bilevel)
        taken = [int(optimizer.iterations) for optimizer in model.optimizer.optimizers]
        assert taken == steps
        assert int(model.optimizer.iterations) == (2 if bilevel else 1)
        assert float(model.get_layer("combination").temperature) == pytest.approx(
            1.0 if bilevel else 0.01
        )


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_tables_start_with_a_spread_of_their_own_unless_told_otherwise(monkeypatch):
    rows = data(categories=4, rows=100)
    still = {"learning_rate": 0.0, "epochs": 1}
    wide = searched_model(monkeypatch, rows, **still).get_layer("factors").table
    assert 0.35 < ops.convert_to_numpy(wide).std() < 0.65
    monkeypatch.setitem(MODEL, "embeddings_initializer", 0.01)
    narrow = searched_model(monkeypatch, rows, **still).get_layer("factors").table
    assert ops.convert_to_numpy(narrow).std() < 0.02


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_tables_are_drawn_by_the_seed_and_each_of_its_own(monkeypatch):
    rows = data(categories=4, rows=100)

    def tables(seed):
        still = {"learning_rate": 0.0, "epochs": 1, "seed": seed}
        model = searched_model(monkeypatch, rows, **still)
        names = ("embedding", "memorized", "factors")
        return [ops.convert_to_numpy(model.get_layer(name).table)[:4] for name in names]

    first = tables(1)
    np.testing.assert_array_equal(first, tables(1))
    assert not np.isin(first, tables(2)).any()
    assert np.unique(first).size == np.size(first)


@pytest.mark.backend
def test_an_open_pair_is_judged_by_its_method_alone():
    rows = data(categories=4, rows=200)
    keras.utils.set_random_seed(0)
    spread = {"embeddings_initializer": 1.0, "temperature_rate": 1.0}
    model = models.OptInter(rows.features, **MODEL, **spread)
    model.get_layer("combination").step.assign(1)
    network = keras.Model(model.input, logit_of(model))
    inputs = inputs_of(model, rows.train[0])
    methods = _ChosenMethods(network, inputs, np.array([0, 1, 0, 0, 0, 0]), np.ones(6))
    only = [np.eye(6, dtype=bool)[place] for place in (0, 1)]  # memorized, factorized
    nothing = np.zeros(6, bool)
    before = [methods.logits(is_open) for is_open in (*only, nothing)]
    for table, moved in (("memorized", [True, False, False]), ("factors", [False, True, False])):
        vectors = model.get_layer(table).table
        kept = ops.convert_to_numpy(vectors)
        vectors.assign(np.zeros_like(kept))
        after = [methods.logits(is_open) for is_open in (*only, nothing)]
        vectors.assign(kept)
        changes = [abs(one - other).max() for one, other in zip(before, after, strict=True)]
        assert [change > 1e-3 for change in changes] == moved


@pytest.mark.parametrize(
    "setting", [{"gate_learning_rate": 0.1}, {"temperature_rate": 0.1}, {"bilevel": True}]
)
def test_settings_of_the_mixture_need_it(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} is of the mixture: .*keep=null"):
        OptInterSearch(**setting)


def test_without_crossed_features_it_says_what_to_declare():
    rows = planted_tables({}, 0, 3, 4, train_rows=100, test_rows=10)
    with pytest.raises(ValueError, match="declare Crossed features"):
        OptInterSearch(**SETTINGS).search(rows.features, rows.train)
