"""GatedInteraction against loops in NumPy and against what AutoFIS and AIM say of it."""

import itertools

import keras
import numpy as np
import pytest

from ctr_keras.layers import FactorizationMachine, GatedInteraction
from ctr_keras.plan import FUNCTIONS
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 5, 3
PAIRS = ((0, 1), (0, 4), (2, 3))
TRIPLES = ((0, 1, 2), (0, 2, 4), (1, 3, 4))
QUADRUPLES = ((0, 1, 2, 4), (1, 2, 3, 4))
MOVING = ("normalization/moving_mean", "normalization/moving_variance")


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def embeddings(rows=6, fields=FIELDS, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, fields, DIM)).astype("float32")


def interaction(function, kernel, q, vectors):
    if function == "outer":
        return np.prod([kernel[place] @ vector for place, vector in enumerate(vectors)])
    product = np.ones(DIM)
    for vector in vectors:
        product = product * vector
    if function == "inner":
        return product.sum()
    return (kernel[q] * product).sum() if function == "vector" else kernel[q, 0] * product.sum()


def reference(weights, inputs, terms, function, *, summed=True, epsilon=None):
    """One row and combination at a time; gates and normalization where there are weights."""
    rows = []
    for row in inputs:
        outputs = []
        for q, term in enumerate(terms):
            value = interaction(function, weights.get("kernel"), q, [row[i] for i in term])
            if epsilon is not None:
                mean, variance = (weights[name][q] for name in MOVING)
                value = (value - mean) / np.sqrt(variance + epsilon)
            outputs.append(value * weights["gates"][q] if "gates" in weights else value)
        rows.append([sum(outputs)] if summed else outputs)
    return np.array(rows)


def randomized(layer, shape=(None, FIELDS, DIM)):
    """The layer, built, with random weights; variances must be positive, so all are."""
    layer.build(shape)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.3, 2.0, weight.shape) for weight in layer.weights])
    return layer


def plain(function="inner", **arguments):
    """A layer without gates, normalization and sum."""
    return GatedInteraction(
        function=function, gated=False, normalized=False, summed=False, **arguments
    )


CASES = {
    "all pairs": ("inner", 2, None, {"epsilon": 0.3}),
    "triples": ("vector", 3, TRIPLES, {"epsilon": 0.3, "gated": False}),
    "quadruples": ("inner", 4, QUADRUPLES, {"summed": False}),
    "pairs": ("scalar", 2, PAIRS, {"normalized": False, "summed": False}),
    "outer triples": ("outer", 3, TRIPLES, {"normalized": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_contract(case):
    function, order, combinations, options = CASES[case]
    terms = combinations or tuple(itertools.combinations(range(FIELDS), order))
    count = len(terms)
    kernel_shape = {"vector": (count, DIM), "scalar": (count, 1), "outer": (order, DIM)}
    shapes = {} if function == "inner" else {"kernel": kernel_shape[function]}
    epsilon = None
    if options.get("normalized", True):
        shapes |= dict.fromkeys(MOVING, (count,)) | {"normalization/batches": ()}
        epsilon = options.get("epsilon", 1e-10)
    if options.get("gated", True):
        shapes["gates"] = (count,)
    arguments = {
        "combinations": combinations,
        "order": order,
        "function": function,
        "momentum": 0.8,
        "gate_initializer": keras.initializers.RandomUniform(-1, 1, seed=1),
        "kernel_initializer": keras.initializers.RandomUniform(0.5, 1.5, seed=2),
    }
    run_layer_test(
        GatedInteraction,
        arguments | options,
        embeddings(),
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(
            weights, inputs, terms, function, summed=options.get("summed", True), epsilon=epsilon
        ),
        compare_xla=case in ("all pairs", "outer triples"),
        bad_shapes=[(None, FIELDS), (None, None, DIM), (None, FIELDS, None)]
        + [(None, 3, DIM), (None, 4, DIM)] * (combinations is not None),
    )


@pytest.mark.parametrize(("function", "order"), itertools.product(FUNCTIONS, (2, 3, 4)))
def test_any_weights_and_the_enumeration_of_all_combinations(function, order):
    layer = randomized(GatedInteraction(None, order, function, summed=False, epsilon=0.2))
    terms = tuple(itertools.combinations(range(FIELDS), order))
    assert layer.terms == terms
    weights = {w.path.partition("/")[2]: to_numpy(w).astype("float64") for w in layer.weights}
    expected = reference(weights, embeddings(), terms, function, summed=False, epsilon=0.2)
    np.testing.assert_allclose(layer(embeddings()), expected, 1e-4, 1e-4)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_gates_of_one_give_the_factorization_machine(order):
    layer = GatedInteraction(order=order, normalized=False, gate_initializer="ones")
    expected = FactorizationMachine(order)(embeddings())
    np.testing.assert_allclose(layer(embeddings()), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_zero_gate_removes_exactly_its_term(function):
    layer = randomized(GatedInteraction(PAIRS, function=function))
    whole = to_numpy(layer(embeddings()))
    terms = randomized(GatedInteraction(PAIRS, function=function, summed=False))
    term = to_numpy(terms(embeddings()))[:, 1:2]
    gates = to_numpy(layer.gates).copy()
    gates[1] = 0
    layer.gates.assign(gates)
    np.testing.assert_allclose(layer(embeddings()), whole - term, 1e-5, 1e-5)
    assert np.abs(term).min() > 1e-3
    if function in ("vector", "scalar"):  # what belongs to the pair alone has no say any more
        kernel = to_numpy(layer.kernel).copy()
        kernel[1] += 5
        layer.kernel.assign(kernel)
        np.testing.assert_allclose(layer(embeddings()), whole - term, 1e-5, 1e-5)


def test_kernels_of_one_give_the_inner_product():
    inner = to_numpy(plain()(embeddings()))
    vector = plain("vector", kernel_initializer="ones")
    scalar = plain("scalar", kernel_initializer=keras.initializers.Constant(-2.5))
    np.testing.assert_allclose(vector(embeddings()), inner, 1e-6)
    np.testing.assert_allclose(scalar(embeddings()), -2.5 * inner, 1e-5)


def test_normalization_leaves_nothing_of_a_scalar_kernel_but_its_sign():
    layer = GatedInteraction(PAIRS, function="scalar", gated=False, summed=False, epsilon=1e-10)
    layer.build((None, FIELDS, DIM))
    layer.kernel.assign([[0.5], [-0.5], [4.0]])
    inner = GatedInteraction(PAIRS, gated=False, summed=False, epsilon=1e-10)
    expected = to_numpy(inner(embeddings(), training=True)) * [1, -1, 1]
    np.testing.assert_allclose(layer(embeddings(), training=True), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("order", [3, 4])
def test_a_factor_of_ones_lowers_the_order(order):
    inputs = embeddings()
    inputs[:, -1] = 1
    lower = list(itertools.combinations(range(FIELDS - 1), order - 1))
    higher = [(*term, FIELDS - 1) for term in lower]
    output = plain(order=order, combinations=higher)(inputs)
    expected = plain(order=order - 1, combinations=lower)(inputs)
    np.testing.assert_allclose(output, expected, 1e-5, 1e-6)


def test_outer_is_a_rank_one_matrix_product_and_not_symmetric():
    layer = randomized(plain("outer", combinations=[(1, 3)]))
    first, second = to_numpy(layer.kernel)
    inputs = embeddings()
    products = np.einsum("bi,bj->bij", inputs[:, 1], inputs[:, 3])
    expected = [[first @ product @ second] for product in products]
    np.testing.assert_allclose(layer(inputs), expected, 1e-5, 1e-5)
    swapped = inputs[:, [0, 3, 2, 1, 4]]
    assert not np.allclose(layer(swapped), expected, 1e-2)
    layer.kernel.assign(np.stack([second, first]))
    np.testing.assert_allclose(layer(swapped), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_outer_has_as_many_weights_whatever_the_number_of_combinations(order):
    layer = plain("outer", order=order)
    layer.build((None, 12, DIM))
    assert [tuple(weight.shape) for weight in layer.weights] == [(order, DIM)]


@pytest.mark.parametrize(("function", "bound"), [("vector", 0.003), ("outer", 1.23)])
def test_initial_weights_are_the_authors(function, bound):
    layer = GatedInteraction(function=function)
    layer.build((None, 30, DIM))
    gates, kernel = to_numpy(layer.gates), to_numpy(layer.kernel)
    assert 0.599 <= gates.min() < gates.max() <= 0.601
    assert 0.3 * bound < np.abs(kernel).max() < bound  # two sigmas of 0.001; sqrt(6 / 4)


def test_initial_outer_kernels_fill_their_interval():
    keras.utils.set_random_seed(0)
    layers = [GatedInteraction(order=4, function="outer") for _ in range(100)]
    for layer in layers:
        layer.build((None, FIELDS, 1))
    kernels, bound = np.array([to_numpy(layer.kernel) for layer in layers]), np.sqrt(6 / 2)
    assert 0.98 * bound < kernels.max() < bound
    assert -bound < kernels.min() < -0.98 * bound


@pytest.mark.parametrize("function", ["inner", "scalar"])
def test_pairs_are_read_from_one_matrix_product_unless_products_are_asked_for(
    function, monkeypatch
):
    layer = randomized(GatedInteraction(PAIRS, function=function))
    expected, _ = layer(embeddings(), return_products=True)
    monkeypatch.delattr(GatedInteraction, "_products")
    np.testing.assert_allclose(layer(embeddings()), expected, 1e-5, 1e-5)


def test_normalization_in_training_and_at_inference():
    layer = GatedInteraction(PAIRS, summed=False, gate_initializer="ones")
    inputs = embeddings(rows=500)
    terms = to_numpy(plain(combinations=PAIRS)(inputs))
    mean, variance = terms.mean(axis=0), terms.var(axis=0)
    np.testing.assert_allclose(layer(inputs), terms / np.sqrt(1.001), 1e-5, 1e-5)  # not moved yet
    output = to_numpy(layer(inputs, training=True))
    assert layer.normalization.trainable_variables == []
    np.testing.assert_allclose(output.mean(axis=0), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(output.var(axis=0), variance / (variance + 1e-3), 1e-4)
    np.testing.assert_allclose(layer.normalization.moving_mean, mean, 1e-4, 1e-6)
    np.testing.assert_allclose(layer.normalization.moving_variance, variance, 1e-4)
    expected = (terms - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(layer(inputs), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_size_of_the_embeddings_does_not_matter(order):
    layer = GatedInteraction(order=order, summed=False)
    inputs = 3 * embeddings(rows=50)
    output = to_numpy(layer(inputs, training=True))
    scaled = to_numpy(layer(10 * inputs, training=True))
    assert np.abs(scaled - output).max() < 1e-3 * np.abs(output).max()


def test_order_four_has_a_smaller_epsilon():
    inputs = 0.1 * embeddings(rows=200)
    spread = {}
    for order, epsilon in ((3, None), (4, None), (4, 1e-3)):
        layer = GatedInteraction(order=order, epsilon=epsilon, summed=False, gated=False)
        spread[order, epsilon] = to_numpy(layer(inputs, training=True)).std()
    assert spread[4, None] > 0.99
    assert max(spread[3, None], spread[4, 1e-3]) < 0.1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_combinations_with_open_gates_are_the_whole_layer(function):
    layer = randomized(GatedInteraction(TRIPLES, 3, function))
    layer.gates.assign([0.5, 0.0, -0.7])
    kept = np.flatnonzero(to_numpy(layer.gates))
    pruned = GatedInteraction([TRIPLES[index] for index in kept], 3, function)
    pruned.build((None, FIELDS, DIM))
    for new, old in zip(pruned.weights, layer.weights, strict=True):
        is_common = old.name == "batches" or (function == "outer" and old is layer.kernel)
        new.assign(old if is_common else to_numpy(old)[kept])
    assert pruned.terms == (TRIPLES[0], TRIPLES[2])
    np.testing.assert_allclose(pruned.gates, [0.5, -0.7])
    for training in (False, True):
        outputs = (x(embeddings(), training=training) for x in (layer, pruned))
        np.testing.assert_allclose(*outputs, 1e-5, 1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_closed_gates_are_zero_and_without_combinations_there_are_no_weights(function):
    layer = GatedInteraction(function=function, gate_initializer="zeros")
    assert not to_numpy(layer(embeddings())).any()
    pruned = GatedInteraction([], function=function)
    pruned.build((None, FIELDS, DIM))
    assert pruned.weights == []
    np.testing.assert_array_equal(pruned(embeddings()), np.zeros((6, 1)))
    output, products = pruned(embeddings(), return_products=True)
    symbolic = pruned(keras.Input((FIELDS, DIM)), return_products=True)
    assert [tuple(x.shape[1:]) for x in symbolic] == [output.shape[1:], products.shape[1:]]
    assert pruned.terms == ()


def test_fewer_fields_than_the_order_interact_not():
    np.testing.assert_array_equal(GatedInteraction(order=3)(embeddings(fields=2)), np.zeros((6, 1)))


def changes(shared, functions):
    """How far one step of gradient descent on the sum of these functions moves each table."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((FIELDS,), dtype="int32")
    tables = [
        keras.layers.Embedding(20, DIM, embeddings_initializer=keras.initializers.RandomNormal())
        for _ in FUNCTIONS[: 1 if shared else None]
    ]
    outputs = [
        GatedInteraction(
            function=function,
            normalized=False,
            kernel_initializer=keras.initializers.RandomUniform(0.5, 1.5, seed=4),
        )(tables[0 if shared else index](ids))
        for index, function in enumerate(FUNCTIONS)
    ]
    model = keras.Model(ids, keras.layers.Concatenate()(outputs))
    model.compile(
        keras.optimizers.SGD(1.0),
        lambda chosen, outputs: keras.ops.sum(chosen * outputs, axis=-1),
        run_eagerly=True,
    )
    before = [to_numpy(table.embeddings).copy() for table in tables]
    chosen = np.tile([float(name in functions) for name in FUNCTIONS], (8, 1))
    model.train_on_batch(np.random.default_rng(0).integers(0, 20, (8, FIELDS)), chosen)
    return [to_numpy(t.embeddings) - old for t, old in zip(tables, before, strict=True)]


def test_a_function_teaches_its_own_embeddings_only():
    for index, function in enumerate(FUNCTIONS):
        moved = [change.any() for change in changes(False, [function])]
        assert moved == [other == index for other in range(len(FUNCTIONS))]


def test_with_shared_embeddings_gradients_add():
    alone = [changes(True, [function])[0] for function in FUNCTIONS]
    assert all(change.any() for change in alone)
    np.testing.assert_allclose(changes(True, FUNCTIONS)[0], sum(alone), 1e-4, 1e-6)


@pytest.mark.parametrize(("function", "width"), [("inner", DIM), ("scalar", DIM), ("outer", 1)])
def test_return_products(function, width):
    layer = randomized(GatedInteraction(TRIPLES, 3, function))
    output, products = layer(embeddings(), return_products=True)
    np.testing.assert_array_equal(output, layer(embeddings()))
    assert tuple(products.shape) == (6, 3, width)
    raw = plain(function, combinations=TRIPLES, order=3)
    raw.build((None, FIELDS, DIM))
    raw.set_weights([to_numpy(layer.kernel)] if raw.weights else [])
    np.testing.assert_allclose(to_numpy(products).sum(-1), raw(embeddings()), 1e-5, 1e-5)
    inputs = keras.Input((FIELDS, DIM))
    model = keras.Model(inputs, layer(inputs, return_products=True))
    assert [x.shape for x in model.outputs] == [(None, 1), (None, 3, width)]
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    for actual, expected in zip(again(embeddings()), (output, products), strict=True):
        np.testing.assert_allclose(actual, expected, 1e-5, 1e-5)


def test_return_terms():
    layer = randomized(GatedInteraction(TRIPLES, 3))
    terms = randomized(GatedInteraction(TRIPLES, 3, summed=False))(embeddings())
    mask = np.array([[True] * 4 + [False]] * 6)
    for asked, count in (({}, 2), ({"return_products": True}, 3)):
        outputs = layer(embeddings(), return_terms=True, **asked)
        symbolic = layer(keras.Input((FIELDS, DIM)), return_terms=True, **asked)
        assert len(outputs) == count
        np.testing.assert_array_equal(outputs[0], layer(embeddings()))
        np.testing.assert_allclose(outputs[-1], terms, 1e-6)
        assert [x.shape for x in symbolic] == [(None, *x.shape[1:]) for x in outputs]
    masked = to_numpy(layer(embeddings(), mask=mask, return_terms=True)[1])
    np.testing.assert_allclose(masked, to_numpy(terms) * [1, 0, 0], 1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_combination_with_a_masked_field_contributes_nothing(function):
    layer = randomized(GatedInteraction(TRIPLES, 3, function, summed=False))
    mask = np.array([[True] * 5, [False, True, True, True, True], [True, True, False, True, True]])
    whole = to_numpy(layer(embeddings(rows=3)))
    assert (whole != 0).all()
    kept = np.array([[all(mask[row, i] for i in term) for term in TRIPLES] for row in range(3)])
    assert kept.sum(axis=1).tolist() == [3, 1, 1]
    np.testing.assert_allclose(layer(embeddings(rows=3), mask=mask), whole * kept, 1e-6)
    layer.summed = True
    summed = layer(embeddings(rows=3), mask=mask)
    np.testing.assert_allclose(summed, (whole * kept).sum(1, keepdims=True), 1e-5, 1e-6)


@pytest.mark.filterwarnings("error")
def test_a_mask_that_keras_carries_counts():
    layer = randomized(GatedInteraction(TRIPLES, 3))
    inputs = embeddings() * (np.arange(FIELDS) != 1)[:, None]
    expected = layer(inputs, mask=inputs.any(axis=-1))
    np.testing.assert_allclose(layer(keras.layers.Masking()(inputs)), expected, 1e-6)
    assert np.abs(to_numpy(expected) - to_numpy(layer(inputs))).max() > 0.01


@pytest.mark.parametrize("order", [2, 4])
def test_float16_of_small_embeddings(order):
    inputs = 0.1 * embeddings(rows=100)
    arguments = {"order": order, "summed": False}
    expected = GatedInteraction(**arguments, gate_initializer="ones")(inputs, training=True)
    half = GatedInteraction(**arguments, gate_initializer="ones", dtype="mixed_float16")
    output = half(inputs, training=True)
    assert keras.backend.standardize_dtype(output.dtype) == "float16"
    assert {weight.dtype for weight in half.weights} == {"float32"}
    np.testing.assert_allclose(to_numpy(output), expected, 0.02, 0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 5}, r"order must be one of \(2, 3, 4\). Received: 5"),
        ({"function": "cosine"}, "function must be one of inner, .* Received: 'cosine'"),
        ({"combinations": [(0,)]}, r"2 rising indices of fields. Received: \(0,\)"),
        ({"combinations": [(0, 1, 2)]}, r"2 rising indices of fields. Received: \(0, 1, 2\)"),
        ({"combinations": [(1, 0)]}, r"2 rising indices of fields. Received: \(1, 0\)"),
        ({"combinations": [(1, 1)]}, r"2 rising indices of fields. Received: \(1, 1\)"),
        ({"combinations": [(-1, 0)]}, r"2 rising indices of fields. Received: \(-1, 0\)"),
        ({"combinations": [(0, 1), (0, 1)]}, r"twice. Received: \(\(0, 1\), \(0, 1\)\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GatedInteraction(**arguments)
