"""FieldCells against loops over cells and their blocks."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import BilinearInteraction, FieldCells
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

INPUTS = np.random.default_rng(0).normal(size=(4, 4, 2)).astype("float32")
CELLS = [  # a chain; two ends; three fields, of which a block of the first level and one above read
    ((0, 1), (("product", 0, 1), ("concatenate", 2, 0))),
    ((2, 0), (("add", 1, 0), ("multiply", 0, 1))),
    ((1, 3, 2), (("product", 2, 0), ("concatenate", 1, 2), ("add", 4, 3))),
]


def by_loops(weights, inputs):
    rows = []
    for row in inputs:
        ends, used = [], {}
        every = [[row[field] for field in fields] for fields, _ in CELLS]
        read = [{place for _, *places in blocks for place in places} for _, blocks in CELLS]
        for level in range(3):
            for nodes, (_, blocks) in zip(every, CELLS, strict=True):
                if level < len(blocks):
                    operation, first, second = blocks[level]
                    x, y, name = nodes[first], nodes[second], f"{operation}_{level}"
                    own = used[name] = used.get(name, -1) + 1
                    if operation == "add":
                        nodes.append(x + y)
                    elif operation == "multiply":
                        nodes.append(x * y)
                    elif operation == "product":
                        nodes.append((x @ weights[f"kernel_{name}"][own]) * y)
                    else:
                        both = np.concatenate([x, y]) @ weights[f"kernel_{name}"][own]
                        nodes.append(np.maximum(both + weights[f"bias_{name}"][own], 0))
        for nodes, used_inside, (fields, _) in zip(every, read, CELLS, strict=True):
            for place in range(len(fields), len(nodes)):
                if place not in used_inside:
                    ends.append(nodes[place] @ weights["readout"][len(ends)])
        rows.append(ends)
    return np.array(rows)


def test_layer_contract():
    run_layer_test(
        FieldCells,
        {"cells": CELLS},
        INPUTS,
        weight_shapes={
            "kernel_product_0": (2, 2, 2),
            "kernel_concatenate_1": (2, 4, 2),
            "bias_concatenate_1": (2, 2),
            "readout": (4, 2),
        },
        reference=by_loops,
        bad_shapes=[(None, 4), (None, None, 2), (None, 3, 2)],
    )


@pytest.mark.parametrize("operation", ["multiply", "product"])
def test_products_of_all_pairs_are_their_inner_products_from_the_start(operation):
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    cells = FieldCells([(pair, [(operation, 0, 1)]) for pair in pairs])
    products = BilinearInteraction("scalar", gives="numbers")
    np.testing.assert_allclose(cells(INPUTS), products(INPUTS), 1e-5, 1e-6)


def test_kernels_of_blocks_are_drawn_as_one_by_one():
    layer = FieldCells([((0, 1), [("concatenate", 0, 1)])] * 50)
    layer(np.ones((1, 2, 16), "float32"))
    kernel = keras.ops.convert_to_numpy(layer.trainable_variables[0])
    assert abs(np.abs(kernel).max() - (6 / 48) ** 0.5) < 0.01


def test_no_cells_and_fields_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="at least 1 cell"):
        FieldCells([])
    with pytest.raises(ValueError, match=r"cells name fields \[4\]"):
        FieldCells([((0, 4), [("add", 0, 1)])])(INPUTS)
