"""GatedExperts against loops over rows, tasks and experts."""

import itertools

import numpy as np
import pytest

from ctr_keras.layers import GatedExperts
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

TASKS, DIM, UNITS = 2, 4, 3
DRAW = np.random.default_rng(0)
ONE = DRAW.normal(size=(5, DIM)).astype("float32")
OF_EACH = DRAW.normal(size=(5, TASKS + 1, DIM)).astype("float32")


def reference(own, shared, hands_on, weights, inputs):
    rows = []
    for row in inputs:
        read = [row] * (TASKS + 1) if row.ndim == 1 else row
        experts = {}
        for name in {path.split("/")[0] for path in weights if "expert" in path}:
            place = int(name.split("_")[1]) if name.startswith("task") else TASKS
            dense = read[place] @ weights[f"{name}/dense_0/kernel"]
            experts[name] = np.maximum(dense + weights[f"{name}/dense_0/bias"], 0)
        names = [[f"task_{task}_expert_{i}" for i in range(own)] for task in range(TASKS)]
        of_shared = [f"shared_expert_{i}" for i in range(shared)]
        taken = [[*of, *of_shared] for of in names]
        taken += [[*itertools.chain(*names), *of_shared]] * hands_on
        outputs = []
        for place, of in enumerate(taken):
            scores = np.exp(read[place] @ weights[f"gate_{place}/kernel"])
            shares = scores / scores.sum()
            outputs.append(sum(a * experts[name] for a, name in zip(shares, of, strict=True)))
        rows.append(outputs)
    return np.array(rows)


@pytest.mark.parametrize(
    ("own", "shared", "hands_on", "inputs"),
    [(0, 2, False, ONE), (1, 2, False, OF_EACH), (2, 1, True, OF_EACH)],
    ids=["MMoE", "last level of PLE", "level of PLE"],
)
def test_layer_contract(own, shared, hands_on, inputs):
    experts = [f"task_{task}_expert_{i}" for task in range(TASKS) for i in range(own)]
    experts += [f"shared_expert_{i}" for i in range(shared)]
    shapes = {f"{name}/dense_0/kernel": (DIM, UNITS) for name in experts}
    shapes |= {f"{name}/dense_0/bias": (UNITS,) for name in experts}
    shapes |= {f"gate_{task}/kernel": (DIM, own + shared) for task in range(TASKS)}
    if hands_on:
        shapes[f"gate_{TASKS}/kernel"] = (DIM, len(experts))
    run_layer_test(
        GatedExperts,
        {
            **{"tasks": TASKS, "units": [UNITS], "hands_on": hands_on},
            **{"shared_experts": shared, "task_experts": own},
        },
        inputs,
        weight_shapes=shapes,
        reference=lambda weights, rows: reference(own, shared, hands_on, weights, rows),
        compare_xla=hands_on,
        bad_shapes=[(None, TASKS, DIM), (None,)],
    )


def test_gates_are_shares_of_the_experts_of_each_task():
    layer = GatedExperts(TASKS, [UNITS], shared_experts=2, task_experts=1, hands_on=True)
    _, gates = layer(ONE, return_gates=True)
    assert [tuple(gate.shape) for gate in gates] == [(5, 3), (5, 3), (5, 4)]
    for gate in gates:
        np.testing.assert_allclose(np.sum(gate, axis=1), 1.0, rtol=1e-5)


def test_a_task_without_an_expert_is_refused():
    with pytest.raises(ValueError, match=r"each task needs an expert.*task_experts=0"):
        GatedExperts(2, [3], shared_experts=0)
