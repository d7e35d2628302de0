"""CombinationBlock against loops in NumPy and against what OptInter says of it."""

import itertools

import keras
import numpy as np
import pytest

from ctr_keras.layers import CombinationBlock
from ctr_keras.plan import METHODS
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, PAIRS, DIM = 4, 6, 3
ALL = tuple(itertools.combinations(range(FIELDS), 2))
SOME = ((0, 3), (0, 1), (2, 3), (1, 2))
MIXED = ("factorize", "memorize", "naive", "factorize")
RANDOM = keras.initializers.RandomNormal(stddev=1.0, seed=1)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def tensors(pairs=PAIRS, fields=FIELDS, rows=6):
    """Inputs for this many memorized pairs and fields; what there is none of is absent."""
    draw = np.random.default_rng(0)
    counts = {"memorized": pairs, "factors": fields}
    return {
        name: draw.normal(size=(rows, count, DIM)).astype("float32")
        for name, count in counts.items()
        if count
    }


def factorized(weights, row, index, pair, function):
    first, second = row[pair[0]], row[pair[1]]
    if function == "addition":
        return first + second
    return first * second * (weights["kernel"][index] if function == "generalized" else 1)


def mixture(weights, inputs, pairs, function, rate=5e-5, final=0.01):
    """Equations 17 and 18, one row and pair at a time."""
    temperature = max(final, 1 - rate * weights["step"])
    outputs = []
    for memorized, factors in zip(inputs["memorized"], inputs["factors"], strict=True):
        vectors = []
        for index, pair in enumerate(pairs):
            powers = [np.exp(logit / temperature) for logit in weights["logits"][index]]
            product = factorized(weights, factors, index, pair, function)
            vectors.append((powers[0] * memorized[index] + powers[1] * product) / sum(powers))
        outputs.append(vectors)
    return np.array(outputs)


def selected(weights, inputs, pairs, methods, function, keep_width):
    outputs = []
    for row in range(6):
        by_method = {method: [] for method in METHODS}
        for pair, method in zip(pairs, methods, strict=True):
            index = len(by_method[method])
            if method == "memorize":
                by_method[method].append(inputs["memorized"][row, index])
            elif method == "factorize":
                factors = inputs["factors"][row]
                by_method[method].append(factorized(weights, factors, index, pair, function))
            elif keep_width:
                by_method[method].append(np.zeros(DIM))
        outputs.append([vector for method in METHODS for vector in by_method[method]])
    return np.array(outputs)


@pytest.mark.parametrize(
    ("pairs", "function"), [(None, "hadamard"), (SOME, "addition"), (SOME, "generalized")]
)
def test_layer_contract_of_the_mixture(pairs, function):
    terms = pairs or ALL
    shapes = {"logits": (len(terms), 3), "step": ()}
    if function == "generalized":
        shapes["kernel"] = (len(terms), DIM)
    good = {"memorized": (None, len(terms), DIM), "factors": (None, FIELDS, DIM)}
    run_layer_test(
        CombinationBlock,
        {
            "pairs": pairs,
            "factor_function": function,
            "temperature_rate": 0.1,
            "final_temperature": 0.2,
            "logits_initializer": RANDOM,
            "kernel_initializer": RANDOM,
            "seed": 3,
        },
        tensors(len(terms)),
        weight_shapes=shapes,
        reference=lambda weights, inputs: mixture(weights, inputs, terms, function, 0.1, 0.2),
        compare_xla=function == "generalized",
        bad_shapes=[
            good | {"memorized": (None, len(terms) + 1, DIM)},
            good | {"memorized": (None, len(terms), DIM + 1)},
            good | {"memorized": (None, None, DIM)},
            good | {"factors": (None, FIELDS - 1, DIM)},
            good | {"memorized": (None, len(terms), 1, DIM)},
            good | {"factors": (None, DIM)},
            good | {"third": (None, FIELDS, DIM)},
            {"factors": good["factors"]},
            {"memorized": good["memorized"]},
            {},
        ],
    )


@pytest.mark.parametrize(
    ("methods", "function", "keep_width"),
    [
        (MIXED, "generalized", True),
        (MIXED, "addition", False),
        (("memorize",) * 4, "hadamard", False),
        (("naive", "factorize", "naive", "factorize"), "hadamard", True),
    ],
)
def test_layer_contract_of_a_selection(methods, function, keep_width):
    memorized, products = methods.count("memorize"), methods.count("factorize")
    inputs = tensors(memorized, FIELDS if products else 0)
    shapes = {name: (None, *array.shape[1:]) for name, array in inputs.items()}
    run_layer_test(
        CombinationBlock,
        {
            "pairs": SOME,
            "methods": methods,
            "factor_function": function,
            "keep_width": keep_width,
            "kernel_initializer": RANDOM,
        },
        inputs,
        weight_shapes={"kernel": (products, DIM)} if function == "generalized" else {},
        reference=lambda weights, inputs: selected(
            weights, inputs, SOME, methods, function, keep_width
        ),
        compare_xla=function == "generalized",
        bad_shapes=[shapes | {"memorized": (None, memorized + 1, DIM)}]
        + [shapes | {"factors": (None, 2, DIM)}] * bool(products),
    )


def searching(logits=None, **arguments):
    """A mixture of all pairs, built, with these logits for each."""
    layer = CombinationBlock(**arguments)
    layer.build({name: array.shape for name, array in tensors().items()})
    if logits is not None:
        layer.logits.assign(np.broadcast_to(logits, (len(ALL), 3)))
    return layer


def test_probabilities_from_uniform_to_one_hot():
    layer = searching(0.0)
    np.testing.assert_allclose(layer.probabilities(), np.full((6, 3), 1 / 3), 1e-6)
    logits = np.random.default_rng(2).permuted(np.tile([0.0, 0.2, -0.3], (6, 1)), axis=1)
    layer.logits.assign(logits)
    best = logits.argmax(axis=1)
    assert layer.selection() == tuple(METHODS[index] for index in best)
    for step in (0, 5_000, 15_000, 19_800):
        layer.step.assign(step)
        probabilities = to_numpy(layer.probabilities())
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(6), 1e-6)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), best)
    assert probabilities.max(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("step", "temperature"), [(0, 1.0), (10_000, 0.5), (19_800, 0.01), (10**6, 0.01)]
)
def test_temperature_falls_with_the_steps(step, temperature):
    layer = searching([0.0, 0.01, 0.02])
    layer.step.assign(step)
    np.testing.assert_allclose(layer.temperature, temperature, 1e-5)
    powers = np.exp(np.array([0.0, 0.01, 0.02]) / temperature)
    np.testing.assert_allclose(layer.probabilities()[0], powers / powers.sum(), 1e-4)


def test_training_calls_advance_the_step():
    layer = searching()
    for training, step in ((False, 0), (None, 0), (True, 1), (True, 2), (False, 2)):
        layer(tensors(), training=training)
        assert int(layer.step) == step


def test_fit_advances_the_step_and_evaluation_does_not():
    inputs = {name: keras.Input(a.shape[1:], name=name) for name, a in tensors().items()}
    layer = CombinationBlock(gumbel_noise=True)
    model = keras.Model(inputs, keras.ops.sum(layer(inputs), axis=(1, 2)))
    model.compile("sgd", "mse", jit_compile=False)
    data = tensors(rows=6), np.ones(6)
    model.fit(*data, batch_size=2, epochs=2, validation_data=data, verbose=0)
    assert int(layer.step) == 6
    model.evaluate(*data, verbose=0)
    model.predict(data[0], verbose=0)
    assert int(layer.step) == 6


@pytest.mark.parametrize("seed", range(3))
def test_logits_of_one_method_give_the_selection(seed):
    chosen = np.random.default_rng(seed).permuted([0, 0, 1, 1, 2, 2])
    layer = searching(1000.0 * np.eye(3)[chosen], factor_function="addition")
    assert layer.selection() == tuple(METHODS[index] for index in chosen)
    whole, inputs = to_numpy(layer(tensors())), tensors()
    assert not whole[:, chosen == 2].any()
    inputs["memorized"] = inputs["memorized"][:, chosen == 0]
    for keep_width, count in ((True, 6), (False, 4)):
        fixed = CombinationBlock(ALL, layer.selection(), "addition", keep_width=keep_width)
        output = fixed(inputs)
        assert len(fixed.pair_order) == count
        places = [layer.pair_order.index(pair) for pair in fixed.pair_order]
        np.testing.assert_allclose(output, whole[:, places], 1e-6)


@pytest.mark.parametrize("keep_width", [True, False])
@pytest.mark.parametrize("names", [["factors"], ["memorized"], ["memorized", "factors"]])
def test_all_naive_is_nothing(keep_width, names):
    layer = CombinationBlock(SOME, ("naive",) * 4, keep_width=keep_width)
    given = {"memorized": np.ones((6, 0, DIM), "float32"), "factors": tensors()["factors"]}
    output = layer({name: given[name] for name in names})
    assert tuple(output.shape) == (6, 4 if keep_width else 0, DIM)
    assert not to_numpy(output).any()
    assert layer.weights == []
    symbolic = layer({name: keras.Input(given[name].shape[1:]) for name in names})
    assert symbolic.shape == (None, *output.shape[1:])


@pytest.mark.parametrize(("method", "moves"), [(0, [True, False]), (1, [False, True])])
def test_only_the_chosen_method_learns(method, moves):
    ids = {name: keras.Input((a.shape[1],), name=name) for name, a in tensors().items()}
    tables = {name: keras.layers.Embedding(9, DIM, "random_normal") for name in ids}
    layer = CombinationBlock(logits_initializer="zeros")
    model = keras.Model(ids, layer({name: tables[name](ids[name]) for name in ids}))
    layer.logits.assign(np.tile(1000.0 * np.eye(3)[method], (len(ALL), 1)))
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    before = [to_numpy(table.embeddings).copy() for table in tables.values()]
    batch = {name: np.ones(array.shape[:2], "int32") for name, array in tensors().items()}
    model.train_on_batch(batch, np.ones((6, len(ALL), DIM)))
    after = [to_numpy(table.embeddings) for table in tables.values()]
    assert [(old != new).any() for old, new in zip(before, after, strict=True)] == moves


def noisy(draws, seed, logits=(0.0, 0.0, 0.0), **arguments):
    """A mixture of many pairs with equal logits: one call draws for all of them."""
    layer = CombinationBlock([(0, 1)] * draws, seed=seed, **arguments)
    layer.build({"memorized": (None, draws, 1), "factors": (None, 2, 1)})
    layer.logits.assign(np.tile(np.array(logits, "float32"), (draws, 1)))
    return layer


def test_gumbel_noise_chooses_each_method_as_often_as_it_is_probable():
    logits = np.array([0.5, -0.3, 0.1])
    layer = noisy(100_000, 0, logits, gumbel_noise=True)
    drawn = to_numpy(layer.probabilities(training=True))
    assert np.isfinite(drawn).all()
    frequency = np.bincount(drawn.argmax(axis=1)) / len(drawn)
    np.testing.assert_allclose(frequency, np.exp(logits) / np.exp(logits).sum(), atol=0.01)


def test_noise_is_drawn_anew_in_training_only_and_only_if_asked_for():
    noise, again, other = (noisy(100, seed, gumbel_noise=True) for seed in (5, 5, 6))
    first, second = (to_numpy(noise.probabilities(training=True)) for _ in range(2))
    assert (first != second).mean() > 0.99
    np.testing.assert_array_equal(again.probabilities(training=True), first)
    assert (to_numpy(other.probabilities(training=True)) != first).mean() > 0.99
    for quiet in (noise.probabilities(), noisy(100, 5).probabilities(training=True)):
        np.testing.assert_allclose(quiet, np.full((100, 3), 1 / 3), 1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sharp_probabilities_stay_exact_under_mixed_precision(dtype):
    layer = CombinationBlock(temperature_rate=1.0, dtype=f"mixed_{dtype}")
    layer.build({"memorized": (None, PAIRS, DIM), "factors": (None, FIELDS, DIM)})
    layer.step.assign(1)  # at a temperature of 0.01 logits are up to 90,000, over float16's range
    layer.logits.assign(np.tile([900.0, 899.99, 0.0], (PAIRS, 1)))
    inputs = {"memorized": np.ones((1, PAIRS, DIM)), "factors": np.zeros((1, FIELDS, DIM))}
    output = to_numpy(keras.ops.cast(layer(inputs), "float32"))
    np.testing.assert_allclose(output, 1 / (1 + np.exp(-1)), atol=0.01)


def test_logits_start_as_xavier_normal():
    keras.utils.set_random_seed(0)
    layer = CombinationBlock([(0, 1)] * 1000)
    layer.build({"memorized": (None, 1000, 1), "factors": (None, 2, 1)})
    logits, spread = to_numpy(layer.logits), np.sqrt(2 / (1000 + 3))
    assert logits.std() == pytest.approx(spread, rel=0.05)
    assert np.abs(logits).max() > 2.5 * spread  # a uniform one would end at 1.7


def test_an_unknown_count_of_fields_is_refused_though_no_pair_needs_them():
    layer = CombinationBlock([(0, 1)], ["naive"])
    with pytest.raises(ValueError, match=r"each \(batch, count, dim\).*'factors'"):
        layer.build({"factors": (None, None, DIM)})


def test_no_pairs_are_no_pairs():
    layer = CombinationBlock([])
    output = layer({"memorized": np.ones((6, 0, DIM), "float32")} | tensors(0))
    assert tuple(output.shape) == (6, 0, DIM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor_function": "max"}, "must be one of hadamard, .* Received: 'max'"),
        ({"final_temperature": 0.0}, "final_temperature must be over 0. Received: 0.0"),
        ({"final_temperature": -0.1}, "final_temperature must be over 0. Received: -0.1"),
        ({"pairs": [(1, 1)]}, r"two rising indices of fields. Received: \(1, 1\)"),
        ({"pairs": [(2, 1)]}, r"two rising indices of fields. Received: \(2, 1\)"),
        ({"pairs": [(-1, 1)]}, r"two rising indices of fields. Received: \(-1, 1\)"),
        ({"pairs": [(0, 1)], "methods": ["learn"]}, "methods are memorize, .* Received: learn"),
        ({"methods": ["naive"]}, "Received: 1 methods and no pairs"),
        ({"pairs": SOME, "methods": ["naive"]}, "Received: 1 methods and 4 pairs"),
        ({"pairs": [(0, 1)], "methods": ["naive"] * 2}, "Received: 2 methods and 1 pairs"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CombinationBlock(**arguments)
