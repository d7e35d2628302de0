"""Cross networks, CIN, product networks, wide and residual towers: identities and wiring."""

import numpy as np
import pytest

from ctr_keras.models import (
    CIN,
    DCN,
    FNN,
    GDCN,
    IPNN,
    OPNN,
    PIN,
    CrossNet,
    DCNv2,
    DeepCrossing,
    WideDeep,
    xDeepFM,
)
from ctr_keras.plan import Interaction, InteractionPlan
from tests.models.identities import copy_weights, logits
from tests.models.sizes import feature_set
from tests.packed import packed_inputs

SMALL = feature_set(4, numeric=1)
INPUTS = packed_inputs(SMALL)
CROSSED = feature_set(3, crossed_ids=40)
WIDE = {"dim": 3, "embeddings_initializer": "random_normal"}
DEEP = {**WIDE, "hidden": [6], "normalization": None}


def test_dcn_without_cross_layers_is_a_tower_and_a_linear_term_in_the_embeddings():
    model, fnn = DCN(SMALL, layers=0, **DEEP), FNN(SMALL, **DEEP)
    copy_weights(model, fnn, "embedding", "deep")
    kernel, bias = model.get_layer("logit").get_weights()
    fnn.get_layer("logit").set_weights([kernel[15:], bias])
    embedded = np.array(model.get_layer("embedding")(INPUTS)).reshape(8, -1)
    expected = logits(fnn, INPUTS) + embedded @ kernel[:15]
    np.testing.assert_allclose(logits(model, INPUTS), expected, 1e-4, 1e-6)


def test_crossnet_is_dcn_whose_tower_has_no_say():
    model, dcn = CrossNet(SMALL, **WIDE), DCN(SMALL, **DEEP)
    copy_weights(model, dcn, "embedding", "cross_0", "cross_1", "cross_2")
    kernel, bias = model.get_layer("logit").get_weights()
    dcn.get_layer("logit").set_weights([np.concatenate([kernel, np.zeros((6, 1))]), bias])
    np.testing.assert_allclose(logits(dcn, INPUTS), logits(model, INPUTS), 1e-5, 1e-6)


def test_dcnv2_with_matrices_of_equal_columns_is_dcn():
    model, dcn = DCNv2(SMALL, layers=2, **DEEP), DCN(SMALL, layers=2, **DEEP)
    copy_weights(dcn, model, "embedding", "deep", "logit")
    for name in ("cross_0", "cross_1"):
        kernel, bias = dcn.get_layer(name).get_weights()
        model.get_layer(name).set_weights([np.tile(kernel, 15), bias])
    np.testing.assert_allclose(logits(model, INPUTS), logits(dcn, INPUTS), 1e-5, 1e-6)


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_gdcn_with_gates_half_open_is_dcnv2(structure):
    options = {**DEEP, "structure": structure}
    model, dcn = GDCN(SMALL, **options), DCNv2(SMALL, **options)
    copy_weights(dcn, model, "embedding", "deep", "logit")
    for name in ("cross_0", "cross_1", "cross_2"):
        kernel, bias = dcn.get_layer(name).get_weights()
        model.get_layer(name).set_weights([2 * kernel, 2 * bias, 0 * kernel])
    np.testing.assert_allclose(logits(model, INPUTS), logits(dcn, INPUTS), 1e-5, 1e-6)


def test_a_stacked_tower_stands_on_the_cross_network():
    model = DCNv2(SMALL, structure="stacked", **DEEP)
    assert model.get_layer("deep").input is model.get_layer("cross_2").output
    with pytest.raises(ValueError, match="structure must be one of parallel, stacked"):
        DCNv2(SMALL, structure="on top")
    with pytest.raises(ValueError, match="4 experts need a rank"):
        DCNv2(SMALL, experts=4)
    with pytest.raises(ValueError, match="layers must not be negative, got -1"):
        DCN(SMALL, layers=-1)


def test_xdeepfm_without_its_tower_and_linear_part_is_cin():
    model, cin = xDeepFM(SMALL, maps=[4, 3], **DEEP), CIN(SMALL, maps=[4, 3], **WIDE)
    copy_weights(model, cin, "embedding", "compressed")
    kernel = model.get_layer("compressed_logit").get_weights()
    cin.get_layer("logit").set_weights([*kernel, np.zeros(1)])
    whole, linear, deep = logits(model, INPUTS, "logit", "linear", "deep_logit")
    np.testing.assert_allclose(whole - linear - deep, logits(cin, INPUTS), 1e-4, 1e-6)


@pytest.mark.parametrize("kernel", ["matrix", "vector", "scalar"])
def test_opnn_with_kernels_of_one_is_ipnn(kernel):
    model, ipnn = OPNN(SMALL, kernel=kernel, **DEEP), IPNN(SMALL, **DEEP)
    copy_weights(ipnn, model, "embedding", "deep", "logit")
    np.testing.assert_allclose(logits(model, INPUTS), logits(ipnn, INPUTS), 1e-5, 1e-6)


def test_pin_has_a_network_for_each_pair_and_without_them_is_fnn():
    model, fnn = PIN(SMALL, pair_hidden=[4, 2], **DEEP), FNN(SMALL, **DEEP)
    assert {weight.shape[0] for weight in model.get_layer("pair_networks").weights[:4]} == {10}
    copy_weights(model, fnn, "embedding", "logit")
    kernel, bias = model.get_layer("deep").get_weights()
    kernel[15:] = 0
    model.get_layer("deep").set_weights([kernel, bias])
    fnn.get_layer("deep").set_weights([kernel[:15], bias])
    np.testing.assert_allclose(logits(model, INPUTS), logits(fnn, INPUTS), 1e-5, 1e-6)


def test_deepcrossing_without_residuals_is_fnn():
    model, fnn = DeepCrossing(SMALL, **DEEP), FNN(SMALL, **DEEP)
    copy_weights(model, fnn, "embedding", "logit")
    *inner, residual = model.get_layer("residual_0").get_weights()
    model.get_layer("residual_0").set_weights([*inner, 0 * residual])
    fnn.get_layer("deep").set_weights(inner)
    np.testing.assert_allclose(logits(model, INPUTS), logits(fnn, INPUTS), 1e-5, 1e-6)


def test_the_wide_part_has_the_crossed_features_of_a_plan_or_all():
    inputs = packed_inputs(CROSSED)
    wide = WideDeep(CROSSED, **DEEP)
    assert wide.get_layer("linear").weighting.table.shape == (CROSSED.id_count, 1)
    assert wide.get_layer("embedding").table.shape == (CROSSED.without_crossed().id_count, 3)
    plan = InteractionPlan(
        [Interaction(("c2", "c1"), "memorize"), Interaction(("c0", "c1"), "factorize")]
    )
    some = WideDeep(CROSSED, interactions=plan, **DEEP)
    assert some.get_layer("linear").fields == ["c0", "c1", "c2", "c1_x_c2"]
    before = logits(some, inputs)
    columns = [feature.name for feature in CROSSED.crossed]
    for name in columns:
        missing = {**inputs, "crossed": inputs["crossed"].copy()}
        missing["crossed"][:, columns.index(name)] = 0
        linear = some.get_layer("linear").weighting.table
        linear.assign(np.ones(linear.shape))
        changed = logits(some, missing) != logits(some, inputs)
        assert changed.any() == (name == "c1_x_c2")
    assert before.shape == (8, 1)
    none = WideDeep(CROSSED, interactions=InteractionPlan([]), **DEEP)
    assert {tensor.name for tensor in none.inputs} == {"categorical"}
    with pytest.raises(ValueError, match="to memorize 'c2' and 'c1' declare Crossed"):
        WideDeep(SMALL, interactions=plan)


def test_wide_and_deep_without_its_linear_part_is_fnn():
    model, fnn = WideDeep(SMALL, **DEEP), FNN(SMALL, **DEEP)
    copy_weights(model, fnn, "embedding", "deep")
    fnn.get_layer("logit").set_weights(model.get_layer("deep_logit").get_weights())
    (deep,) = logits(model, INPUTS, "deep_logit")
    np.testing.assert_allclose(deep, logits(fnn, INPUTS), 1e-5, 1e-6)
