"""FwFM, FmFM, AFM, NFM, HOFM and Poly2: the identities between them and simpler models."""

import numpy as np
import pytest

from ctr_keras.models import AFM, FM, HOFM, LR, NFM, FmFM, FwFM, OptInterM, Poly2
from tests.models.identities import copy_weights, logits, to_numpy
from tests.models.sizes import feature_set
from tests.packed import packed_inputs

SMALL = feature_set(4, numeric=1)
CROSSED = feature_set(3, crossed_ids=40)
INPUTS = packed_inputs(SMALL)
OPTIONS = {"dim": 3, "embeddings_initializer": "random_normal"}


@pytest.fixture
def fm():
    return FM(SMALL, **OPTIONS)


@pytest.mark.parametrize("builder", [FwFM, FmFM])
def test_with_kernels_of_one_they_are_fm(builder, fm):
    model = builder(SMALL, **OPTIONS)
    copy_weights(fm, model, "embedding", "linear")
    np.testing.assert_allclose(logits(model, INPUTS), logits(fm, INPUTS), 1e-5, 1e-7)


def test_fmfm_with_multiples_of_the_identity_is_fwfm():
    fwfm = FwFM(SMALL, kernel_initializer="random_normal", **OPTIONS)
    fmfm, vectors = FmFM(SMALL, **OPTIONS), FmFM(SMALL, kernel="vector", **OPTIONS)
    weights = fwfm.get_layer("products").get_weights()[0]
    fmfm.get_layer("products").set_weights([weights[:, :, None] * np.eye(3)])
    vectors.get_layer("products").set_weights([np.tile(weights, 3)])
    for model in (fmfm, vectors):
        copy_weights(fwfm, model, "embedding", "linear")
        np.testing.assert_allclose(logits(model, INPUTS), logits(fwfm, INPUTS), 1e-5, 1e-7)


def test_hofm_of_order_two_is_fm(fm):
    model = HOFM(SMALL, order=2, **OPTIONS)
    copy_weights(fm, model, "embedding", "linear")
    np.testing.assert_array_equal(logits(model, INPUTS), logits(fm, INPUTS))
    assert [x.name for x in HOFM(SMALL, order=4).layers if "inner" in x.name] == [
        *("embedding_inner_3", "embedding_inner_4", "inner_2", "inner_3", "inner_4")
    ]
    with pytest.raises(ValueError, match="order must be at least 2, got 1"):
        HOFM(SMALL, order=1)


def test_the_pooled_products_of_nfm_sum_to_the_pairs_of_fm(fm):
    model = NFM(SMALL, hidden=[4], **OPTIONS)
    copy_weights(fm, model, "embedding")
    (pooled,) = logits(model, INPUTS, "pooled")
    (pairs,) = logits(fm, INPUTS, "inner_2")
    np.testing.assert_allclose(pooled.sum(axis=1, keepdims=True), pairs, 1e-4, 1e-7)


def test_afm_with_even_attention_projects_the_mean_of_nfms_products():
    afm, nfm = AFM(SMALL, **OPTIONS), NFM(SMALL, hidden=[4], **OPTIONS)
    copy_weights(afm, nfm, "embedding")
    attention = afm.get_layer("attention")
    attention.set_weights([0 * weight for weight in attention.get_weights()])
    (pair_logit,) = logits(afm, INPUTS, "pair_logit")
    (pooled,) = logits(nfm, INPUTS, "pooled")
    projection = to_numpy(afm.get_layer("pair_logit").kernel)
    np.testing.assert_allclose(pair_logit, pooled / 10 @ projection, 1e-4, 1e-7)


def test_poly2_is_logistic_regression_and_optinter_m_of_width_one_without_its_tower():
    model = Poly2(CROSSED, embeddings_initializer="random_normal")
    table = model.get_layer("linear").weighting.table
    linear = LR(CROSSED)
    memorizing = OptInterM(CROSSED, cross_dim=1, hidden=[4])
    plain = CROSSED.without_crossed().id_count
    linear.get_layer("linear").weighting.table.assign(table[:plain])
    linear.get_layer("linear").bias.assign(model.get_layer("linear").bias)
    pairs = np.concatenate([np.zeros((1, 1)), table[plain:]])
    memorizing.get_layer("memorized").table.assign(pairs)
    inputs = packed_inputs(CROSSED)
    (memorized,) = logits(memorizing, inputs, "memorized")
    expected = logits(linear, {"categorical": inputs["categorical"]}) + memorized.sum(axis=1)
    np.testing.assert_allclose(logits(model, inputs), expected, 1e-5, 1e-7)


def test_what_pairs_need_is_said():
    with pytest.raises(ValueError, match="Poly2 needs crossed features"):
        Poly2(SMALL)
    for builder in (FwFM, FmFM, AFM):
        with pytest.raises(ValueError, match=f"{builder.__name__} needs two fields"):
            builder(feature_set(1))
