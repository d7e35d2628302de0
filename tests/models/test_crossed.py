"""Crossed features: models leave them out unless they are asked for, or have a way of their own."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import feature_inputs
from ctr_keras.models import MODELS, build_model, model_arguments
from ctr_keras.models.base import built_features
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.trees import Tree, Trees
from ctr_keras.trees.columns import column_names
from tests.models.variants import FEATURES, VARIANTS, each_way, features_of
from tests.packed import inputs_of, packed_inputs

PLAIN = FEATURES.without_crossed()
OF_THEIR_OWN = {"Poly2", "WideDeep", "OptInter", "OptInterM", "OptInterF", "MIAN"}
OTHERS = [name for name in MODELS if name not in OF_THEIR_OWN]
SMALL = {"dim": 4, "hidden": [5], "layers": 1, "head_dim": 3}


def stump(features):
    """Trees on the columns of features, so that a model on trees can be built."""
    return Trees(
        column_names(features), [Tree((0,), (0.0,), ((1,),), (False,), (-1,), (-2,), (1.0, 0.0))]
    )


def small(name, features, **arguments):
    taken = {key: value for key, value in SMALL.items() if key in model_arguments(name)}
    if "trees" in model_arguments(name):
        taken["trees"] = stump(features if arguments.get("crossed") else features.without_crossed())
    return build_model(name, features, **taken, **arguments)


def shapes(model):
    return [(weight.path, weight.shape) for weight in model.weights]


def input_names(model):
    return {tensor.name for tensor in model.inputs}


def test_models_take_the_argument_or_say_what_they_do():
    takes = {name for name in MODELS if "crossed" in model_arguments(name)}
    assert takes == set(OTHERS)
    texts = {name: MODELS[name].crossed for name in MODELS}
    assert {texts[name] for name in OTHERS} == {"left out; with crossed=true embedded as fields"}
    assert texts["MIAN"] == texts["OptInterF"] == "left out"
    with pytest.raises(TypeError, match="crossed"):
        MODELS["OptInterM"].build(FEATURES, crossed=True)


@pytest.mark.parametrize("name", each_way(OTHERS, on_jax=False))
def test_crossed_features_are_left_out_unless_they_are_asked_for(name):
    features = features_of(name)
    plain = features.without_crossed()
    model = small(name, features)
    assert shapes(model) == shapes(small(name, plain))
    assert "crossed" not in input_names(model)
    assert built_features(model, features) == plain
    crossed = small(name, features, crossed=True)
    assert input_names(crossed) == input_names(model) | {"crossed"}
    assert built_features(crossed, features) == features
    packed = packed_inputs(features)  # an input more than the model's
    np.testing.assert_array_equal(model(packed), model(inputs_of(model, packed)))


@pytest.mark.backend
@pytest.mark.parametrize("variant", ["OptInter", "OptInter-mixture", "OptInterM"])
def test_optinter_memorizes_them_as_ever(variant):
    name, arguments = VARIANTS[variant]
    model = build_model(name, FEATURES, **arguments)
    assert "crossed" in input_names(model)
    assert built_features(model, FEATURES) is FEATURES


def test_a_model_without_features_of_its_own_is_on_all():
    numbers = feature_inputs(FEATURES)["numeric"]
    model = keras.Model(numbers, keras.layers.Dense(1)(numbers))
    assert built_features(model, FEATURES) is FEATURES


def test_a_plan_of_crossed_features_says_how_to_have_them():
    plan = InteractionPlan([Interaction(("user", "age_x_hour"))])
    with pytest.raises(ValueError, match=r"age_x_hour; available: .*; crossed .* crossed=true"):
        build_model("FM", FEATURES, interactions=plan)
    assert build_model("FM", FEATURES, interactions=plan, crossed=True).get_layer("inner_2")


def test_trees_on_crossed_features_say_how_to_have_them():
    with pytest.raises(ValueError, match=r"item_x_user of 10 ids; .* set crossed=true"):
        build_model("GBDTLR", FEATURES, trees=stump(FEATURES))
    with pytest.raises(ValueError, match="the trees were grown on"):
        build_model("GBDTLR", FEATURES, trees=stump(PLAIN), crossed=True)
