"""AutoFeature: what it reduces to, how large it is, and which plans it takes."""

import keras
import numpy as np
import pytest

from ctr_keras.models import IPNN, OPNN, AutoFeature, AutoGroup, DeepFM, OptInter
from ctr_keras.plan import Cell, Group, Interaction, InteractionPlan
from tests.models.identities import copy_weights, logits
from tests.models.sizes import feature_set, parameter_count
from tests.packed import packed_inputs

SMALL = feature_set(4, numeric=1)
INPUTS = packed_inputs(SMALL)
OPTIONS = {"dim": 3, "hidden": [6], "embeddings_initializer": "random_normal"}
PLAN = InteractionPlan(
    [],
    cells=[
        Cell(("c2", "c0"), [("concatenate", 0, 1), ("multiply", 2, 0)]),
        Cell(("c1", "n0", "c3"), [("product", 0, 2), ("add", 1, 3)]),
    ],
)


def test_with_products_of_all_pairs_it_is_ipnn():
    model, ipnn = AutoFeature(SMALL, **OPTIONS), IPNN(SMALL, **OPTIONS)
    copy_weights(ipnn, model, "embedding", "deep", "logit")
    np.testing.assert_allclose(logits(model, INPUTS), logits(ipnn, INPUTS), 1e-5, 1e-7)


def test_with_generalized_products_of_all_pairs_it_is_opnn():
    kernels = {"kernel_initializer": "random_normal"}
    model, opnn = (
        AutoFeature(SMALL, operation="product", **OPTIONS),
        OPNN(SMALL, **kernels, **OPTIONS),
    )
    copy_weights(opnn, model, "embedding", "deep", "logit")
    (kernel,) = opnn.get_layer("kernel_products").get_weights()
    cells = model.get_layer("field_cells")
    cells.set_weights([kernel, *cells.get_weights()[1:]])
    np.testing.assert_allclose(logits(model, INPUTS), logits(opnn, INPUTS), 1e-5, 1e-7)


def test_a_cell_of_each_pair_is_as_without_a_plan():
    pairs = [
        (one, other)
        for i, one in enumerate(SMALL.field_names)
        for other in SMALL.field_names[i + 1 :]
    ]
    planned = AutoFeature(
        SMALL, interactions=InteractionPlan([], cells=map(Cell, pairs)), **OPTIONS
    )
    plain = AutoFeature(SMALL, **OPTIONS)
    copy_weights(plain, planned, "embedding", "field_cells", "deep", "logit")
    np.testing.assert_allclose(logits(planned, INPUTS), logits(plain, INPUTS), 1e-6, 1e-7)


def test_parameters_are_those_of_table_blocks_ends_and_tower():
    ids, fields, dim = 1000, 10, 4
    blocks = (2 * dim + 1) * dim + dim**2 + 3 * dim
    tower = (fields * dim + 3 + 1) * 8 + 8 + 1
    plan = InteractionPlan(
        [],
        cells=[
            Cell(("c0", "c1"), [("concatenate", 0, 1), ("multiply", 2, 0)]),
            Cell(("c2", "c0"), [("product", 0, 1), ("add", 0, 1)]),
        ],
    )
    options = {"interactions": plan, "dim": dim, "hidden": [8], "normalization": None}
    features = feature_set(fields, ids=ids)
    assert parameter_count(AutoFeature, features, **options) == ids * dim + blocks + tower


def test_cells_are_saved_with_the_model(tmp_path):
    model = AutoFeature(SMALL, interactions=PLAN, **OPTIONS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits(loaded, INPUTS), logits(model, INPUTS), 1e-6, 1e-7)
    assert loaded.get_layer("field_cells").cells[0] == (
        (2, 0),
        (("concatenate", 0, 1), ("multiply", 2, 0)),
    )


@pytest.mark.parametrize("builder", [DeepFM, OptInter])
def test_other_models_refuse_cells(builder):
    with pytest.raises(ValueError, match="one of cells of fields: it is one for AutoFeature"):
        builder(SMALL, interactions=PLAN)
    with pytest.raises(ValueError, match="takes groups of fields, and the plan has none"):
        AutoGroup(SMALL, interactions=PLAN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"interactions": InteractionPlan([Interaction(("c0", "c1"))])},
            "the plan has none: those of `ctr-keras search --method autofeature`",
        ),
        (
            {"interactions": InteractionPlan([], groups=[Group(("c0", "c1"))])},
            "takes cells of fields, and the plan has none",
        ),
        (
            {"interactions": InteractionPlan([], cells=[Cell(("c0", "zip"))])},
            "unknown fields in the plan: zip",
        ),
        ({"operation": "max"}, "one of add, multiply, concatenate, product"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoFeature(SMALL, **arguments)
