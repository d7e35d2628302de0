"""AutoGroup: what it reduces to, how large it is, and which plans it takes."""

import keras
import numpy as np
import pytest

from ctr_keras.models import FM, AutoGroup, DeepFM, OptInter
from ctr_keras.plan import Group, Interaction, InteractionPlan
from tests.models.identities import copy_weights, logits
from tests.models.sizes import feature_set, parameter_count
from tests.packed import packed_inputs

SMALL = feature_set(4, numeric=1)
INPUTS = packed_inputs(SMALL)
OPTIONS = {"dim": 3, "embeddings_initializer": "random_normal"}
TOWER = {"hidden": [6], "normalization": None}
PLAN = InteractionPlan([], groups=[Group(("c2", "n0", "c0"), 3), Group(("c0", "c2"))])


def test_one_group_of_all_fields_holds_twice_the_pairs_of_fm():
    model = AutoGroup(SMALL, groups=[0, 1], kernel_initializer="ones", **TOWER, **OPTIONS)
    fm = FM(SMALL, **OPTIONS)
    table = model.get_layer("embedding_2").get_weights()
    fm.get_layer("embedding").set_weights(table)
    normalized = model.get_layer("normalized_2")
    normalized.moving_variance.assign(np.full(15, 1 - normalized.epsilon))  # as they are
    (groups,), (pairs,) = logits(model, INPUTS, "field_groups_2"), logits(fm, INPUTS, "inner_2")
    np.testing.assert_allclose(groups, 2 * pairs, 1e-4, 1e-6)
    assert np.abs(pairs).max() > 1e-3


def test_a_plan_of_all_fields_in_each_group_is_as_without():
    everything = InteractionPlan([], groups=[Group(SMALL.field_names, order) for order in (1, 2)])
    planned = AutoGroup(SMALL, interactions=everything, **TOWER, **OPTIONS)
    plain = AutoGroup(SMALL, groups=[1, 1], **TOWER, **OPTIONS)
    own = [layer.name for layer in plain.layers if layer.weights]
    copy_weights(plain, planned, *own)
    np.testing.assert_allclose(logits(planned, INPUTS), logits(plain, INPUTS), 1e-5, 1e-7)


def test_tables_of_an_order_hold_the_fields_that_its_groups_name():
    model = AutoGroup(SMALL, interactions=PLAN, dims=[7, 3, 2], **TOWER)
    assert model.get_layer("embedding_2").output.shape == (None, 2, 3)
    assert [*model.get_layer("embedding_3").fields] == ["c0", "c2", "n0"]
    assert model.get_layer("embedding_3").output.shape == (None, 3, 2)
    assert model.get_layer("field_groups_3").groups == ((1, 2, 0),)
    assert "embedding_1" not in {layer.name for layer in model.layers}


def test_parameters_are_those_of_tables_weights_of_places_and_tower():
    ids, fields = 1000, 10
    features = feature_set(fields, ids=ids)
    of_orders = ids * 4 + fields * 3 + ids * 2 + fields * 5
    tower = (3 * 4 + 5 + 1) * 8 + 8 + 1
    count = parameter_count(
        AutoGroup, features, groups=[3, 5], dims=[4, 2], hidden=[8], normalization=None
    )
    assert count == ids + 1 + of_orders + tower


def test_groups_are_saved_with_the_model(tmp_path):
    model = AutoGroup(SMALL, interactions=PLAN, **TOWER, **OPTIONS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits(loaded, INPUTS), logits(model, INPUTS), 1e-6, 1e-7)
    assert loaded.get_layer("field_groups_3").groups == ((1, 2, 0),)


@pytest.mark.parametrize("builder", [DeepFM, OptInter])
def test_other_models_refuse_groups(builder):
    with pytest.raises(ValueError, match="one of groups of fields: it is one for AutoGroup"):
        builder(SMALL, interactions=PLAN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"interactions": InteractionPlan([Interaction(("c0", "c1"))])},
            "the plan has none: those of `ctr-keras search --method autogroup`",
        ),
        (
            {"interactions": InteractionPlan([], groups=[Group(("c0", "zip"))])},
            "unknown fields in the plan: zip",
        ),
        ({"interactions": PLAN, "group_gates": {}}, "group_gates is for a search"),
        ({"groups": [0, 0]}, r"needs at least one group, got groups=\[0, 0\]"),
        ({"groups": [1, 1], "dims": [4]}, r"dims has a width for each of 2 orders, got \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoGroup(SMALL, **arguments)
