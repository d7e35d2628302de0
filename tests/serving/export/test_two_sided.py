"""Rows that have the user's fields in common get the scores that they get one by one."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.models import AutoInt
from serving.export import two_sided
from serving.export.two_sided import call_by_sides
from tests.models.variants import FEATURES, VARIANTS, build
from tests.packed import inputs_of, packed_inputs
from tests.serving.click_log import scrambled

USERS, CANDIDATES = 2, 3
# Models that leave fields apart, and what puts them together again in each way.
OF_PARTS = {"LR", "FM", "AutoFM", "DeepFM", "IPNN", "FNN", "NFM-autodis", "AutoInt", "MIAN"}
ITEMS = frozenset(["item", "genres", "item_x_user"])


def shared_rows(users=USERS, candidates=CANDIDATES):
    """Packed rows of so many users, each with so many candidates."""
    packed = packed_inputs(FEATURES, users * candidates)
    for name, members in FEATURES.packed_features.items():
        of_users = np.array([feature.name not in ITEMS for feature in members])
        first = np.repeat(packed[name][:: max(candidates, 1)], candidates, axis=0)
        packed[name] = np.where(of_users, first, packed[name])
    return packed


def by_sides(model, packed, count=CANDIDATES):
    tensors = {name: tf.constant(values) for name, values in inputs_of(model, packed).items()}
    return call_by_sides(model, tensors, ITEMS, tf.constant(count)).numpy()


def weighed(variant):
    """A model whose fields all matter, in sums that float32 holds."""
    model = scrambled(build(variant))
    for weight in model.trainable_weights:
        weight.assign(weight * 0.5)
    return model


@pytest.mark.parametrize(
    "variant", [v if v in OF_PARTS else pytest.param(v, marks=pytest.mark.whole) for v in VARIANTS]
)
def test_scores_are_those_of_rows(variant):
    model, packed = weighed(variant), shared_rows()
    expected = np.asarray(model(inputs_of(model, packed)))
    scores = by_sides(model, packed)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("users", "candidates"), [(1, 6), (6, 1), (1, 0), (2, 0)])
def test_any_number_of_users_and_candidates(users, candidates):
    model = weighed("DeepFM")
    packed = shared_rows(users, candidates)
    expected = np.asarray(model(inputs_of(model, packed)))
    np.testing.assert_allclose(by_sides(model, packed, candidates), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"variant": "official"},
        {"residual": "none", "heads": 1},
        {"residual": "identity", "dim": 8, "head_dim": 4},
    ],
)
def test_attention_of_every_kind(options):
    model, packed = scrambled(AutoInt(FEATURES, layers=1, **options)), shared_rows()
    expected = np.asarray(model(inputs_of(model, packed)))
    np.testing.assert_allclose(by_sides(model, packed), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["FM", "DeepFM", "AutoInt", "AutoIntPlus"])
def test_fields_stay_apart_through_the_whole_model(variant, monkeypatch):
    def together(layers, value):
        assert not isinstance(value, two_sided.Fields)
        return value

    monkeypatch.setattr(two_sided._Layers, "_together", together)
    by_sides(weighed(variant), shared_rows())


def test_an_int8_model_ranks_as_well():
    model, packed = weighed("DeepFM"), shared_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    expected = np.asarray(model(inputs_of(model, packed)))
    scores = by_sides(model, packed)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
