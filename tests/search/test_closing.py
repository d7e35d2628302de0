"""Which gates stay open: as few as validation rows need, whatever else interactions say."""

import keras
import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras import models
from ctr_keras.plan import InteractionPlan
from ctr_keras.search.closing import (
    GatedDimensions,
    GatedTerms,
    Judge,
    Tried,
    choose,
    fewest,
    largest,
)
from tests.packed import inputs_of

DATA = planted_clicks([(0, 1)], fields=3, categories=4, train_rows=1000, test_rows=10)


def logits_of(model, inputs):
    scores = model.predict(inputs, batch_size=4096, verbose=0)[:, 0].astype("float64")
    return np.log(scores / (1 - scores))


def gated(base, **arguments):
    """A model with a gate for each pair, large embeddings, and its inputs."""
    keras.utils.set_random_seed(0)
    plan = InteractionPlan.complete(DATA.features.field_names)
    settings = {"gated": True, "normalized": True, "embeddings_initializer": 1.0, **arguments}
    model = models.build_model(base, DATA.features, dim=4, interactions=plan, **settings)
    return model, inputs_of(model, DATA.train[0])


@pytest.mark.backend
@pytest.mark.parametrize(
    ("base", "arguments"),
    [
        ("FM", {}),
        ("FM", {"part_scalers": True}),
        ("DeepFM", {"hidden": [4]}),
        ("IPNN", {"hidden": [4]}),
    ],
)
def test_with_all_gates_open_the_logits_are_the_models(base, arguments):
    model, inputs = gated(base, **arguments)
    terms = GatedTerms(model, [model.get_layer("inner_2")], inputs)
    expected = logits_of(model, inputs)
    np.testing.assert_allclose(terms.logits(np.ones(3, bool)), expected, atol=1e-4)
    one_closed = np.array([True, False, True])
    assert abs(terms.logits(one_closed) - expected).max() > 0.1


@pytest.mark.backend
def test_a_closed_pair_leaves_what_its_fields_say_one_by_one():
    """What is taken off has a mean of zero for each value of either field."""
    model, inputs = gated("FM")
    terms = GatedTerms(model, [model.get_layer("inner_2")], inputs)
    all_open = np.ones(3, bool)
    taken_off = terms.logits(all_open) - terms.logits(~largest(terms.values, 1) & all_open)
    pair = np.flatnonzero(largest(terms.values, 1))[0]
    ids = inputs["categorical"]
    for field in [(0, 1), (0, 2), (1, 2)][pair]:
        for value in np.unique(ids[:, field]):
            rows = ids[:, field] == value
            assert abs(taken_off[rows].mean()) < 0.25 * taken_off.std()


@pytest.mark.backend
def test_what_is_taken_off_is_scaled_as_the_part_is():
    model, inputs = gated("FM", part_scalers=True)
    scaler = model.get_layer("part_scaler_1")  # after that of the linear logit

    def taken_off(factor):
        scaler.kernel.assign([[factor]])
        terms = GatedTerms(model, [model.get_layer("inner_2")], inputs)
        return terms.logits(np.ones(3, bool)) - terms.logits(largest(terms.values, 1))

    np.testing.assert_allclose(taken_off(3.0), 3 * taken_off(1.0), atol=1e-4)
    assert abs(taken_off(1.0)).max() > 0.1


@pytest.mark.backend
def test_dimensions_are_closed_one_by_one_and_left_as_they_were():
    plan = InteractionPlan.complete(DATA.features.field_names)
    keras.utils.set_random_seed(0)
    arguments = {"gated": False, "normalized": False, "embedding_gates": True}
    arguments |= {"embeddings_initializer": 1.0}
    model = models.FM(DATA.features, 2, interactions=plan, **arguments)
    inputs = inputs_of(model, DATA.train[0])
    dims = GatedDimensions(model, [model.get_layer("dims_inner_2")], inputs)
    before = logits_of(model, inputs)
    np.testing.assert_allclose(dims.logits(np.ones(6, bool)), before, atol=1e-4)
    closed = dims.logits(np.zeros(6, bool))  # the linear weights are left, which are zero
    assert np.ptp(closed) < 1e-4
    np.testing.assert_allclose(logits_of(model, inputs), before, atol=1e-5)


class Parts:
    """Gates whose parts of the logit are given."""

    def __init__(self, rest, parts):
        self.rest, self.parts = rest, parts
        self.values = np.linspace(1.0, 0.5, parts.shape[1])

    def logits(self, is_open):
        return self.rest + self.parts[:, is_open].sum(axis=1)


def judged(scale=1.0, rows=4000):
    """Of four parts the first two are true, and the model takes them for `scale` times as large."""
    draw = np.random.default_rng(0)
    rest, parts = draw.normal(size=rows), draw.normal(size=(rows, 4))
    truth = rest + parts[:, :2].sum(axis=1)
    clicks = draw.random(rows) < 1 / (1 + np.exp(-truth))
    return Judge(Parts(rest, scale * parts), clicks)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_as_few_are_kept_as_matter_however_sure_the_model_is(scale):
    judge = judged(scale)
    tried = judge.tried()
    assert [one.gates for one in tried] == [0, 1, 2, 3, 4]
    assert fewest(tried) == 2
    effects = judge.effects(np.array([True, True, True, False]))
    assert (effects[:2] > 0.01).all()
    assert effects[2] < 0  # noise
    assert np.isnan(effects[3])


def test_what_is_within_noise_of_the_best_may_be_closed():
    tried = [Tried(0, 0.6, 0.1, 0.01), Tried(1, 0.502, 0.002, 0.001), Tried(2, 0.5, 0.0, 0.0)]
    assert fewest(tried) == 1


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(1, [False, True, False]), (5, [True, True, False]), (None, [True, True, False])],
)
def test_a_count_keeps_the_largest_and_none_what_is_not_zero(keep, kept):
    assert choose(np.array([0.1, -0.5, 0.0]), keep, None)[0].tolist() == kept
