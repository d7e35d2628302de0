"""Models of the boards: each reduces to a simpler one where a part of it says nothing."""

import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.models import (
    AFN,
    DESTINE,
    DLRM,
    EDCN,
    FFM,
    FNN,
    IPNN,
    ONN,
    AOANet,
    EulerNet,
    FiBiNET,
    FiGNN,
    FinalMLP,
    FinalNet,
    MaskNet,
    WuKong,
)
from tests.models.identities import copy_weights, logits, to_numpy
from tests.models.sizes import feature_set
from tests.packed import packed_inputs

SMALL = feature_set(4, numeric=1)
INPUTS = packed_inputs(SMALL)
WIDE = {"dim": 3, "embeddings_initializer": "random_normal"}
DEEP = {**WIDE, "hidden": [6], "normalization": None}


def assert_same(model, other, inputs=INPUTS):
    expected = logits(other, inputs)
    np.testing.assert_allclose(logits(model, inputs), expected, 1e-4, 1e-6)
    assert np.abs(expected).max() > 1e-4


def fields_of(model, inputs=INPUTS):
    return to_numpy(model.get_layer("embedding")(inputs))


def test_fibinet_without_excitation_sees_the_products_of_the_fields_as_they_are():
    model = FiBiNET(SMALL, **DEEP)
    excitation = model.get_layer("excitation")
    excitation.set_weights([0 * weight for weight in excitation.get_weights()])
    fields = fields_of(model)
    pairs = [fields[:, i] * fields[:, j] for i in range(5) for j in range(i + 1, 5)]
    first, second = logits(model, INPUTS, "bilinear_0", "bilinear_1")
    np.testing.assert_allclose(first, np.stack(pairs, axis=1), 1e-5, 1e-7)
    assert not second.any()


def test_masknet_of_one_block_with_a_mask_of_ones_is_fnn():
    model = MaskNet(SMALL, blocks=1, block_units=7, block_normalization=False, **DEEP)
    fnn = FNN(SMALL, **{**DEEP, "hidden": [7, 6]})
    block = model.get_layer("mask_block_0")
    wide, bias, mask, _, dense = block.get_weights()
    block.set_weights([wide, bias, 0 * mask, np.ones(15), dense])
    copy_weights(model, fnn, "embedding", "logit")
    fnn.get_layer("deep").set_weights([dense, np.zeros(7), *model.get_layer("deep").get_weights()])
    assert_same(model, fnn)


def test_serial_masks_stand_on_one_another():
    model = MaskNet(SMALL, structure="serial", blocks=2, **DEEP)
    embeddings, before = model.get_layer("mask_block_1").input
    assert before is model.get_layer("mask_block_0").output
    assert embeddings is model.get_layer("mask_block_0").input[1]
    with pytest.raises(ValueError, match="structure must be one of parallel, serial"):
        MaskNet(SMALL, structure="stacked")


def test_edcn_of_one_layer_without_crosses_is_a_tower_and_a_linear_term():
    model = EDCN(SMALL, layers=1, normalized=False, dropout=0.0, **WIDE)
    fnn = FNN(SMALL, **{**DEEP, "hidden": [15]})
    cross = model.get_layer("cross_0")
    cross.set_weights([0 * weight for weight in cross.get_weights()])
    weights, bias = model.get_layer("logit").get_weights()
    weights[30:] = 0  # those of the bridge
    model.get_layer("logit").set_weights([weights, bias])
    copy_weights(model, fnn, "embedding")
    dense, dense_bias = model.get_layer("deep_0").get_weights()
    fnn.get_layer("deep").set_weights([dense / 5, dense_bias])  # a fifth of each field
    fnn.get_layer("logit").set_weights([weights[15:30], bias])
    linear = fields_of(model).reshape(8, -1) / 5 @ weights[:15]
    np.testing.assert_allclose(logits(model, INPUTS), logits(fnn, INPUTS) + linear, 1e-4, 1e-6)


def test_finalmlp_without_products_is_two_towers():
    options = {**WIDE, "normalization": None}
    model = FinalMLP(SMALL, first_hidden=[6], second_hidden=[4], heads=2, **options)
    bilinear = model.get_layer("bilinear_logit")
    bilinear.set_weights([0 * bilinear.get_weights()[0]])
    first, second = (FNN(SMALL, **{**DEEP, "hidden": [units]}) for units in (6, 4))
    kernel, bias = model.get_layer("linear_logit").get_weights()
    for fnn, name, part in ((first, "deep_0", kernel[:6]), (second, "deep_1", kernel[6:])):
        copy_weights(model, fnn, "embedding")
        fnn.get_layer("deep").set_weights(model.get_layer(name).get_weights())
        fnn.get_layer("logit").set_weights([part, bias])
    expected = logits(first, INPUTS) + logits(second, INPUTS) - bias
    np.testing.assert_allclose(logits(model, INPUTS), expected, 1e-4, 1e-6)


def test_gates_of_finalmlp_are_by_a_group_of_fields():
    features = FeatureSet(
        Categorical("a", group="user"),
        Categorical("b"),
        label=Label("y"),
        vocabulary_sizes={"a": 3, "b": 3},
    )
    model = FinalMLP(features, first_context="user", **WIDE)
    assert [*model.get_layer("embedding_context_0").fields] == ["a"]
    assert "gate_1" not in {layer.name for layer in model.layers}
    with pytest.raises(ValueError, match="no field is in the group 'shop'; there are: user"):
        FinalMLP(features, second_context="shop")


def test_finalnet_whose_products_have_no_say_is_the_mean_of_towers_of_half_the_width():
    model = FinalNet(SMALL, first_hidden=[8], second_hidden=[4], normalization=None, **WIDE)
    towers = []
    for index, half in enumerate((4, 2)):
        dense, bias = model.get_layer(f"final_{index}_0").get_weights()
        logit = model.get_layer(f"tower_logit_{index}").get_weights()[0]
        logit[half:] = 0
        model.get_layer(f"tower_logit_{index}").set_weights([logit])
        fnn = FNN(SMALL, **{**DEEP, "hidden": [half]})
        copy_weights(model, fnn, "embedding")
        fnn.get_layer("deep").set_weights([dense[:, :half], bias[:half]])
        fnn.get_layer("logit").set_weights([logit[:half], np.zeros(1)])
        towers.append(logits(fnn, INPUTS))
    np.testing.assert_allclose(logits(model, INPUTS), sum(towers) / 2, 1e-4, 1e-6)
    assert FinalNet(SMALL, second_hidden=None, **WIDE).get_layer("tower_logit_0").use_bias


def test_the_second_tower_of_afn_is_fnn():
    model, fnn = AFN(SMALL, neurons=2, deep_hidden=[6], **DEEP), FNN(SMALL, **DEEP)
    fnn.get_layer("embedding").set_weights(model.get_layer("embedding_deep").get_weights())
    copy_weights(model, fnn, "deep")
    fnn.get_layer("logit").set_weights(model.get_layer("deep_logit").get_weights())
    (deep,) = logits(model, INPUTS, "deep_logit")
    np.testing.assert_allclose(deep, logits(fnn, INPUTS), 1e-4, 1e-6)


def test_eulernet_with_powers_of_one_adds_up_the_angles():
    model = EulerNet(SMALL, units=[1], **WIDE)
    layer = model.get_layer("euler_0")
    layer.powers.assign(np.ones((5, 1)))
    layer.dense.kernel.assign(0 * layer.dense.kernel)
    angle = fields_of(model).sum(axis=1)
    kernel, bias = model.get_layer("logit").get_weights()
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) @ kernel + bias
    np.testing.assert_allclose(logits(model, INPUTS), expected, 1e-4, 1e-5)


def test_destine_without_attention_and_linear_part_is_fnn():
    model, fnn = DESTINE(SMALL, **DEEP), FNN(SMALL, **DEEP)
    attention = model.get_layer("attention_logit")
    attention.set_weights([0 * attention.get_weights()[0]])
    copy_weights(model, fnn, "embedding", "deep")
    fnn.get_layer("logit").set_weights(model.get_layer("deep_logit").get_weights())
    assert_same(model, fnn)


def test_dlrm_without_numbers_is_ipnn_that_sees_products_alone():
    features = feature_set(4)
    model, ipnn = DLRM(features, **DEEP), IPNN(features, **DEEP)
    copy_weights(model, ipnn, "embedding", "logit")
    kernel, bias = model.get_layer("deep").get_weights()
    ipnn.get_layer("deep").set_weights([np.concatenate([np.zeros((12, 6)), kernel]), bias])
    assert_same(model, ipnn, packed_inputs(features))
    assert "bottom" not in {layer.name for layer in model.layers}


def test_dlrm_takes_all_numbers_for_one_field():
    features = FeatureSet(
        Categorical("a"), Numeric("n"), Numeric("m"), label=Label("y"), vocabulary_sizes={"a": 3}
    )
    model = DLRM(features, **DEEP)
    assert model.get_layer("inner_2").input.shape == (None, 2, 3)
    missing = packed_inputs(features)
    missing["numeric"][0, 0] = np.nan
    assert np.isfinite(model(missing)).all()
    with pytest.raises(ValueError, match="it needs at least two"):
        DLRM(feature_set(0, numeric=3))


def test_aoanet_without_interactions_is_fnn():
    model, fnn = AOANet(SMALL, vectors=2, **DEEP), FNN(SMALL, **DEEP)
    copy_weights(model, fnn, "embedding", "deep")
    kernel, bias = model.get_layer("logit").get_weights()
    kernel[:6] = 0
    model.get_layer("logit").set_weights([kernel, bias])
    fnn.get_layer("logit").set_weights([kernel[6:], bias])
    assert_same(model, fnn)


def test_aoanet_starts_with_the_squares_of_sums():
    model = AOANet(SMALL, vectors=1, **DEEP)
    (made,) = logits(model, INPUTS, "generalized_0")
    total = fields_of(model).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made, total**2, 1e-4, 1e-7)


def test_wukong_whose_blocks_say_nothing_passes_on_the_fields():
    features = feature_set(4)
    inputs = packed_inputs(features)
    model = WuKong(features, layers=1, units=2, rank=2, **DEEP)
    layer = model.get_layer("wukong_0")
    for kernel in (layer.linear.kernel, layer.network.weights[2]):
        kernel.assign(0 * kernel)
    fields = fields_of(model, inputs)
    centred = fields - fields.mean(axis=-1, keepdims=True)
    normalized = centred / np.sqrt(fields.var(axis=-1, keepdims=True) + 1e-3)
    (made,) = logits(model, inputs, "wukong_0")
    np.testing.assert_allclose(made, normalized, 1e-4, 1e-5)


def test_fignn_without_messages_is_a_vote_of_the_embeddings():
    model = FiGNN(SMALL, steps=2, recurrent=False, **WIDE)
    graph, vote = model.get_layer("graph"), model.get_layer("vote_logit")
    graph.sent.assign(0 * graph.sent)
    vote.counts.kernel.assign(0 * vote.counts.kernel)
    expected = 0.5 * (3 * fields_of(model) @ to_numpy(vote.votes.kernel)).sum(axis=1)
    np.testing.assert_allclose(logits(model, INPUTS), expected, 1e-4, 1e-6)


def test_onn_sees_the_products_that_ffm_sums():
    model, ffm = ONN(SMALL, **DEEP), FFM(SMALL, **WIDE)
    ffm.get_layer("embedding").set_weights(model.get_layer("embedding_aware").get_weights())
    (products,) = logits(model, INPUTS, "interactions")
    (expected,) = logits(ffm, INPUTS, "interactions")
    np.testing.assert_allclose(products.sum(axis=1, keepdims=True), expected, 1e-4, 1e-7)
    with pytest.raises(ValueError, match="ONN needs two fields"):
        ONN(feature_set(1))
