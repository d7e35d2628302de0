"""MaskBlock against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import MLP, MaskBlock
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

draw = np.random.default_rng(0)
EMBEDDINGS, INPUTS = (draw.normal(size=(5, width)).astype("float32") for width in (6, 4))


def reference(weights, inputs):
    rows = []
    for embedded, row in zip(*inputs, strict=True):
        inner = np.maximum(embedded @ weights["wide/kernel"] + weights["wide/bias"], 0)
        mask = inner @ weights["mask/kernel"] + weights["mask/bias"]
        output = (mask * row) @ weights["dense/kernel"]
        if "normalization/gamma" in weights:
            output = (output - output.mean()) / np.sqrt(output.var() + 1e-3)
            output = output * weights["normalization/gamma"] + weights["normalization/beta"]
        rows.append(np.maximum(output, 0))
    return np.array(rows)


@pytest.mark.own_draws  # of which int8 is close
@pytest.mark.parametrize("normalized", [True, False])
def test_layer_contract(normalized):
    normalization = {"normalization/gamma": (3,), "normalization/beta": (3,)}
    run_layer_test(
        MaskBlock,
        {"units": 3, "ratio": 1.5, "normalized": normalized, "check_ids": True},
        (EMBEDDINGS, INPUTS),
        weight_shapes={
            "wide/kernel": (6, 6),
            "wide/bias": (6,),
            "mask/kernel": (6, 4),
            "mask/bias": (4,),
            "dense/kernel": (4, 3),
            **(normalization if normalized else {}),
        },
        reference=reference,
        compare_xla=normalized,
        bad_shapes=[((None, 6), (None, None)), ((None, 6), (None, 2, 4))],
    )


def test_with_a_mask_of_ones_it_is_a_dense_layer():
    block, plain = MaskBlock(3, normalized=False), MLP([3])
    expected = plain(INPUTS)
    block.build(EMBEDDINGS.shape, INPUTS.shape)
    wide, bias, mask, _, _ = block.get_weights()
    block.set_weights([wide, bias, 0 * mask, np.ones(4), plain.get_weights()[0]])
    np.testing.assert_allclose(block(EMBEDDINGS, INPUTS), expected, 1e-5, 1e-6)


def test_a_ratio_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"over 0\. Received: 0"):
        MaskBlock(3, ratio=0)
