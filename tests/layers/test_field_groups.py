"""FieldGroups and GatedGroups against loops over groups and fields."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import FactorizationMachine, FieldGroups, GatedGroups
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

INPUTS = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
GROUPS = [(0, 2), (0, 1, 2)]


def by_loops(kernel, inputs, groups, order, correction):
    rows = []
    for row in inputs:
        numbers = []
        for place, group in enumerate(groups):
            vectors = [kernel[field, place] * row[field] for field in group]
            if order == 1:
                numbers += list(sum(vectors))
            else:
                own = sum(vector**order for vector in vectors)
                numbers.append(np.sum(sum(vectors) ** order - correction * own))
        rows.append(numbers)
    return np.array(rows)


@pytest.mark.parametrize(("order", "correction"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_layer_contract(order, correction):
    run_layer_test(
        FieldGroups,
        {"groups": GROUPS, "order": order, "correction": correction},
        INPUTS,
        weight_shapes={"kernel": (3, 2)},
        reference=lambda w, x: by_loops(w["kernel"], x, GROUPS, order, correction),
        bad_shapes=[(None, 3), (None, None, 2), (None, 2, 2)],
    )


def chosen(weights, inputs):
    """Without training: what is over 0 is in."""
    groups = [np.flatnonzero(column > 0) for column in weights["logits"].T]
    return by_loops(weights["kernel"], inputs, groups, 2, 1.0)


def test_gated_layer_contract():
    run_layer_test(
        GatedGroups,
        {"groups": 2, "temperature": 0.5, "gumbel_noise": False},
        INPUTS,
        weight_shapes={"kernel": (3, 2), "logits": (3, 2)},
        reference=chosen,
        bad_shapes=[(None, 3), (None, None, 2)],
    )


def test_one_group_of_all_fields_is_twice_the_pairs_of_a_factorization_machine():
    groups = FieldGroups(1, kernel_initializer="ones")
    pairs = keras.ops.convert_to_numpy(FactorizationMachine()(INPUTS))
    np.testing.assert_allclose(groups(INPUTS), 2 * pairs, 1e-5, 1e-5)


def test_fields_are_in_by_their_probability_in_training_and_by_their_logit_otherwise():
    layer = GatedGroups(500, order=1, kernel_initializer="ones", seed=2)
    ones = np.ones((1, 1, 1), "float32")
    layer(ones)
    layer.logits.assign(np.full((1, 500), 1.0))
    drawn = keras.ops.convert_to_numpy(layer(ones, training=True))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert abs(drawn.mean() - 1 / (1 + np.exp(-1))) < 0.08
    assert keras.ops.convert_to_numpy(layer(ones)).min() == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 0}, "at least 1 group"),
        ({"groups": []}, "at least 1 group"),
        ({"groups": 1, "order": 0}, "order must be at least 1"),
    ],
)
def test_bad_groups_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FieldGroups(**arguments)


def test_fields_that_are_not_there_and_a_temperature_of_0_are_refused():
    with pytest.raises(ValueError, match=r"groups name fields \[3\]"):
        FieldGroups([[0, 3]])(INPUTS)
    with pytest.raises(ValueError, match="temperature must be over 0"):
        GatedGroups(1, temperature=0.0)
