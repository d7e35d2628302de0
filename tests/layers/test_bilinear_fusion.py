"""BilinearFusion against a loop over heads."""

import numpy as np
import pytest

from ctr_keras.layers import BilinearFusion
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

draw = np.random.default_rng(0)
FIRST, SECOND = (draw.normal(size=(5, width)).astype("float32") for width in (4, 6))


def reference(weights, inputs):
    rows = []
    for first, second in zip(*inputs, strict=True):
        heads = zip(np.split(first, 2), weights["kernel"], np.split(second, 2), strict=True)
        rows.append([sum(x @ kernel @ y for x, kernel, y in heads)])
    return np.array(rows)


def test_layer_contract():
    run_layer_test(
        BilinearFusion,
        {"heads": 2},
        (FIRST, SECOND),
        weight_shapes={"kernel": (2, 2, 3)},
        reference=reference,
        bad_shapes=[((None, 5), (None, 6)), ((None, None), (None, 6)), ((None, 4, 2), (None, 6))],
    )


def test_less_than_one_head_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        BilinearFusion(0)
