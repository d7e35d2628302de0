"""The plan inside a model is the one it was built of, with the gates it has now."""

import numpy as np
import pytest

from ctr_keras.explain import plan_of_model
from ctr_keras.plan import InteractionPlan
from tests.models import variants


def shape_of(plan):
    """Which interactions it has; models order the fields of each."""
    return {(frozenset(i.fields), i.function) for i in plan.interactions}


@pytest.mark.parametrize("variant", ["AutoFM", "AutoDeepFM", "AIM", "OptInter"])
def test_the_plan_comes_back(variant):
    plan = variants.VARIANTS[variant][1]["interactions"]
    found = plan_of_model(variants.build(variant), variants.FEATURES)
    assert shape_of(found) == shape_of(plan)
    assert found.kept_dims == plan.kept_dims


def test_gates_belong_to_their_fields():
    model = variants.build("AutoFM")
    names = variants.FEATURES.field_names
    for layer_name in ("inner_2", "inner_3"):
        layer = model.get_layer(layer_name)
        layer.gates.assign([sum(10.0**place for place in term) for term in layer.terms])
    for interaction in plan_of_model(model, variants.FEATURES).interactions:
        expected = sum(10.0 ** names.index(name) for name in interaction.fields)
        assert interaction.gate == np.float32(expected)


@pytest.mark.parametrize("variant", ["FM", "AutoIPNN", "AutoInt", "OptInter-mixture"])
def test_a_model_without_gates_or_methods_has_no_plan(variant):
    assert plan_of_model(variants.build(variant), variants.FEATURES) == InteractionPlan([])
