"""AIM's network: sizes, what the tower sees, function-wise tables, compact embeddings."""

import keras
import numpy as np
import pytest

from ctr_keras.models import AIM, FM
from ctr_keras.plan import FUNCTIONS, Interaction, InteractionPlan
from tests.models.sizes import feature_set, parameter_count, tower
from tests.packed import packed_inputs

pytestmark = pytest.mark.backend

SMALL = feature_set(4, numeric=1)
PLAN = InteractionPlan(
    [
        Interaction(("c0", "c1"), "inner"),
        Interaction(("c2", "c3"), "inner"),
        Interaction(("c1", "n0"), "vector"),
        Interaction(("c0", "c3"), "scalar"),
        Interaction(("c0", "c2"), "outer"),
        Interaction(("c0", "c1", "c2"), "inner"),
        Interaction(("c0", "c1", "c2", "n0"), "outer"),
    ]
)
OPTIONS = {"dim": 4, "hidden": [6], "kernel_initializer": "he_normal"}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def parts_of(model, inputs, *names):
    """Outputs of layers by name, a tuple where a layer has several."""
    outputs = {name: model.get_layer(name).output for name in names}
    values = keras.Model(model.input, outputs)(inputs)
    return [keras.tree.map_structure(to_numpy, values[name]) for name in names]


def test_parameter_count_of_avazus_tables():
    features = feature_set(24, ids=645_195)
    plan = InteractionPlan([Interaction(("c0", "c1"), function) for function in FUNCTIONS])
    one_pair_each = (
        4  # gates
        + 40  # vector kernel
        + 1  # scalar kernel
        + 2 * 40  # outer product
        + tower(3 * 40 + 1, 700, 700, 700, 700, 700)
    )
    count = parameter_count(AIM, features, 40, interactions=plan, hidden=(700,) * 5)
    assert count - one_pair_each - 1 == 4 * 645_195 * 40 + 645_195 == 103_876_395  # 1: the bias
    shared = parameter_count(
        AIM, features, 40, interactions=plan, hidden=(700,) * 5, share_embedding=True
    )
    assert count - shared == 3 * 645_195 * 40


def test_the_tower_sees_the_products_of_the_plan():
    model = AIM(SMALL, interactions=PLAN, **OPTIONS)
    # Order 2: two inner, one vector, one scalar vector of 4, one outer number; order 3 one
    # vector; order 4 one number.
    assert model.get_layer("deep").input.shape == (None, 4 * (2 + 1 + 1) + 1 + 4 + 1)
    inputs = packed_inputs(SMALL)
    (joined,) = parts_of(model, inputs, "products")
    expected = []
    for function, order, terms in [
        ("inner", 2, [(0, 1), (2, 3)]),
        ("vector", 2, [(1, 4)]),
        ("scalar", 2, [(0, 3)]),
        ("outer", 2, [(0, 2)]),
        ("inner", 3, [(0, 1, 2)]),
        ("outer", 4, [(0, 1, 2, 4)]),
    ]:
        name = f"{function}_{order}"
        embedded = to_numpy(model.get_layer(f"embedding_{name}")(inputs)).astype("float64")
        layer = model.get_layer(name)
        for index, term in enumerate(terms):
            if function == "outer":
                kernel = to_numpy(layer.kernel)
                factors = [embedded[:, f] @ kernel[place] for place, f in enumerate(term)]
                expected.append(np.prod(factors, axis=0)[:, None])
                continue
            product = np.prod([embedded[:, f] for f in term], axis=0)
            if function in ("vector", "scalar"):
                product = product * to_numpy(layer.kernel)[index]
            expected.append(product)
    np.testing.assert_allclose(joined, np.concatenate(expected, axis=1), 1e-4, 1e-9)


def test_the_logit_is_the_sum_of_linear_gated_and_deep_parts():
    model = AIM(SMALL, interactions=PLAN, **OPTIONS)
    kinds = [f"{function}_{order}" for order, function in PLAN.kinds]
    logit, linear, deep, *gated = parts_of(
        model, packed_inputs(SMALL), "logit", "linear", "deep_logit", *kinds
    )
    total = linear + deep + sum(sums for sums, _ in gated)
    np.testing.assert_allclose(logit, total, 1e-5, 1e-7)
    gates = [model.get_layer(name).gates for name in kinds]
    assert sum(gate.shape[0] for gate in gates) == len(PLAN.interactions)


def test_gates_are_laid_out_function_by_function():
    model = AIM(SMALL, **OPTIONS)
    names = [layer.name for layer in model.layers if type(layer).__name__ == "GatedInteraction"]
    assert names == [f"{function}_2" for function in ("inner", "vector", "scalar", "outer")]
    assert all(len(model.get_layer(name).terms) == 10 for name in names)


def test_inner_products_alone_without_tower_are_autofm():
    plan = InteractionPlan([Interaction(("c0", "c1")), Interaction(("c2", "n0"))])
    aim, fm = AIM(SMALL, interactions=plan, **OPTIONS), FM(SMALL, dim=4, interactions=plan)
    for name in ("linear", "inner_2"):
        fm.get_layer(name).set_weights(aim.get_layer(name).get_weights())
    fm.get_layer("embedding").set_weights(aim.get_layer("embedding_inner_2").get_weights())
    inputs = packed_inputs(SMALL)
    logit, deep = parts_of(aim, inputs, "logit", "deep_logit")
    (expected,) = parts_of(fm, inputs, "logit")
    np.testing.assert_allclose(logit - deep, expected, 1e-4, 1e-6)


def test_each_function_trains_its_own_table_alone():
    model = AIM(SMALL, interactions=PLAN, **OPTIONS)
    names = [f"embedding_{function}_{order}" for order, function in PLAN.kinds]
    tables = [model.get_layer(name).table for name in names]
    assert len({id(table) for table in tables}) == len(names) == 6
    assert not any(layer.name == "embedding" for layer in model.layers)


def test_kept_dimensions_make_compact_tables():
    kept = {"inner_2": {"c0": [1, 3], "c1": [1, 2, 3], "n0": []}}
    plan = InteractionPlan(PLAN.interactions, kept)
    model = AIM(SMALL, interactions=plan, **OPTIONS)
    layer = model.get_layer("embedding_inner_2")
    embedded = to_numpy(layer(packed_inputs(SMALL, rows=32)))
    assert embedded.shape == (32, 5, 4)
    assert not embedded[:, 0, [0, 2]].any()
    assert embedded[:, 0, 1].any()
    assert not embedded[:, 4].any()
    # c0 has 3 ids and 2 dimensions, c1 3 and 3, c2 and c3 3 each and all 4; a row 0 for each width.
    assert layer.count_params() == (3 + 1) * 2 + (3 + 1) * 3 + (6 + 1) * 4
    assert type(model.get_layer("embedding_outer_2")).__name__ == "FieldEmbedding"
    with pytest.raises(ValueError, match="share_embedding=False"):
        AIM(SMALL, interactions=plan, share_embedding=True)


def test_part_scalers_are_an_option():
    plain = AIM(SMALL, interactions=PLAN, **OPTIONS)
    scaled = AIM(SMALL, interactions=PLAN, part_scalers=True, **OPTIONS)
    parts = 1 + len(PLAN.kinds) + 1
    assert scaled.count_params() - plain.count_params() == parts
    scalers = [layer for layer in scaled.layers if layer.name.startswith("part_scaler")]
    values = np.array([to_numpy(layer.kernel)[0, 0] for layer in scalers])
    assert len(values) == parts
    assert (np.abs(values) < 6**0.5).all()


def test_order_four_normalizes_with_a_small_epsilon():
    model = AIM(SMALL, interactions=PLAN, **OPTIONS)
    assert model.get_layer("outer_4").normalization.epsilon == 1e-10
    assert model.get_layer("inner_3").normalization.epsilon == 1e-3


def test_a_plan_may_close_everything():
    model = AIM(SMALL, interactions=InteractionPlan([]), **OPTIONS)
    inputs = packed_inputs(SMALL)
    logit, linear = parts_of(model, inputs, "logit", "linear")
    np.testing.assert_allclose(logit, linear)
