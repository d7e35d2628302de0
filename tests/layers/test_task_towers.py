"""TaskTowers and FunnelSigmoid against loops over rows and tasks."""

import numpy as np
import pytest

from ctr_keras.layers import FunnelSigmoid, TaskTowers
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

TASKS, DIM, UNITS = 2, 4, 3
DRAW = np.random.default_rng(0)


def towers(weights, inputs):
    rows = []
    for row in inputs:
        read = [row] * TASKS if row.ndim == 1 else row
        rows.append(
            [
                np.maximum(
                    of @ weights[f"task_{task}/dense_0/kernel"]
                    + weights[f"task_{task}/dense_0/bias"],
                    0,
                )
                for task, of in enumerate(read)
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("shape", [(5, DIM), (5, TASKS, DIM)], ids=["one input", "one a task"])
def test_layer_contract_of_towers(shape):
    run_layer_test(
        TaskTowers,
        {"tasks": TASKS, "units": [UNITS]},
        DRAW.normal(size=shape).astype("float32"),
        weight_shapes={
            f"task_{task}/dense_0/{name}": of
            for task in range(TASKS)
            for name, of in {"kernel": (DIM, UNITS), "bias": (UNITS,)}.items()
        },
        reference=towers,
        compare_xla=len(shape) == 2,
        bad_shapes=[(None, TASKS + 1, DIM), (None,)],
    )


def funnel(scales, shifts):
    def reference(weights, logits):
        rows = []
        for row in logits:
            so_far, steps = 1.0, []
            for scale, shift, logit in zip(scales, shifts, row, strict=True):
                so_far /= 1 + np.exp(-scale * logit - shift)
                steps.append(so_far)
            rows.append(steps)
        return np.array(rows)

    return reference


@pytest.mark.parametrize(
    ("config", "scales", "shifts"),
    [
        ({}, [1, 1, 1], [0, 0, 0]),
        ({"scale": [0.5, 2.0, 1.0], "shift": [0.1, -1.0, 0.0]}, [0.5, 2.0, 1.0], [0.1, -1.0, 0.0]),
    ],
)
def test_layer_contract_of_a_funnel(config, scales, shifts):
    inputs = DRAW.normal(size=(5, 3)).astype("float32")
    reference = funnel(scales, shifts)
    run_layer_test(FunnelSigmoid, config, inputs, weight_shapes={}, reference=reference)


def test_towers_of_no_task_are_refused():
    with pytest.raises(ValueError, match=r"tasks must be at least 1\. Received: 0"):
        TaskTowers(0, [3])
