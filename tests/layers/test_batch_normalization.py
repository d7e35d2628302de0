"""BatchNormalization against NumPy, and its averages against statistics of all rows."""

import zipfile

import h5py
import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import BatchNormalization, has_statistics, recompute_statistics
from ctr_keras.models import build_model
from ctr_keras.optimizers import SparseAdam
from ctr_keras.plan import InteractionPlan
from ctr_keras.testing import run_layer_test
from tests.packed import JIT
from tests.parameters import first_of
from tests.processes import in_another_process

pytestmark = pytest.mark.backend

DIM = 3
PLAN = InteractionPlan.complete(["user", "item", "hour"])
# One model for each of the layers that normalize.
MODELS = {
    # Adam's first step is ten times the spread of DeepFM's default, which no average can follow.
    "MLP": ("DeepFM", {"hidden": [32, 16], "norm_order": "before", "embeddings_initializer": 0.01}),
    "GatedInteraction": ("FM", {"interactions": PLAN}),
    "EmbeddingGate": (
        "FM",
        {"interactions": PLAN, "gated": False, "normalized": False, "embedding_gates": True},
    ),
}


def to_numpy(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(2, 3, size=(*shape, DIM)).astype("float32")


def averages(layer):
    return to_numpy(layer.moving_mean), to_numpy(layer.moving_variance)


def reference(weights, inputs):
    """Channel by channel."""
    outputs = np.zeros(inputs.shape)
    for channel in range(DIM):
        mean, variance = (weights[f"moving_{name}"][channel] for name in ("mean", "variance"))
        normal = (inputs[..., channel] - mean) / np.sqrt(variance + 0.2)
        gamma = weights["gamma"][channel] if "gamma" in weights else 1
        beta = weights["beta"][channel] if "beta" in weights else 0
        outputs[..., channel] = gamma * normal + beta
    return outputs


@pytest.mark.parametrize("affine", [True, False])
def test_layer_contract(affine):
    random = keras.initializers.RandomUniform(0.5, 1.5, seed=1)
    shapes = {"moving_mean": (DIM,), "moving_variance": (DIM,), "batches": ()}
    run_layer_test(
        BatchNormalization,
        {
            "momentum": 0.8,
            "epsilon": 0.2,
            "center": affine,
            "scale": affine,
            "beta_initializer": random,
            "gamma_initializer": random,
        },
        values(4, 2) if affine else values(6),
        weight_shapes=shapes | ({"gamma": (DIM,), "beta": (DIM,)} if affine else {}),
        reference=reference,
        compare_xla=affine,
        bad_shapes=[(DIM,), (None, None)],
    )


def expected_averages(batches, momentum=0.9):
    """Mean and variance of all rows, each with the weight that its batch has left."""
    weights = np.zeros(len(batches))
    for step in range(len(batches)):
        share = max(1 - momentum, 20 / (step + 20))
        weights = weights * (1 - share)
        weights[step] = share
    assert abs(weights.sum() - 1) < 1e-9
    of_rows = np.concatenate(
        [np.full(len(b), w / len(b)) for b, w in zip(batches, weights, strict=True)]
    )
    rows = np.concatenate(batches).astype("float64")
    mean = of_rows @ rows
    return mean, of_rows @ (rows - mean) ** 2


@pytest.mark.parametrize("momentum", [0.9, 0.5, 1.0])
def test_averages_are_statistics_of_weighted_rows(momentum):
    layer = BatchNormalization(momentum=momentum)
    batches = [values(5, seed=seed) + seed for seed in range(230)]
    for count, batch in enumerate(batches, start=1):
        layer(batch, training=True)
        if count not in (1, 2, 7, 230):
            continue
        assert float(layer.batches) == count
        for average, expected in zip(
            averages(layer), expected_averages(batches[:count], momentum), strict=True
        ):
            np.testing.assert_allclose(average, expected, 1e-4, 1e-4)


def test_in_training_the_batch_counts_alone():
    layer = BatchNormalization(epsilon=1e-9)
    layer(values(9, seed=1), training=True)
    output = to_numpy(layer(100 * values(50), training=True))
    np.testing.assert_allclose(output.mean(axis=0), np.zeros(DIM), atol=1e-5)
    np.testing.assert_allclose(output.var(axis=0), np.ones(DIM), 1e-4)


def test_batches_of_one_row_give_the_variance_of_rows():
    layer = BatchNormalization()
    rows = values(60)[:, None]
    for row in rows:
        output = layer(row, training=True)
        assert not to_numpy(output).any()  # nothing is left of a row without its mean, not NaN
    for average, expected in zip(averages(layer), expected_averages(rows), strict=True):
        np.testing.assert_allclose(average, expected, 1e-4)


def test_masked_positions_do_not_count():
    mask = np.array([[True, True, False], [True, False, False]])
    inputs = values(2, 3)
    inputs[~mask] = 1e6
    layer = BatchNormalization(epsilon=1e-9)
    output = to_numpy(layer(inputs, mask=mask, training=True))
    seen = inputs[mask]
    mean, variance = averages(layer)
    np.testing.assert_allclose(mean, seen.mean(axis=0), 1e-5)
    np.testing.assert_allclose(variance, seen.var(axis=0), 1e-4)
    expected = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    np.testing.assert_allclose(output[mask], expected, 1e-3, 1e-4)
    layer(inputs, mask=np.zeros_like(mask), training=True)
    assert np.isfinite(averages(layer)).all()


def test_a_frozen_layer_normalizes_by_its_averages():
    layer = BatchNormalization()
    layer(values(20), training=True)
    layer.trainable = False
    before = averages(layer)
    expected = to_numpy(layer(values(8, seed=1), training=False))
    np.testing.assert_array_equal(layer(values(8, seed=1), training=True), expected)
    recompute_statistics(keras.Sequential([keras.Input((DIM,)), layer]), values(30, seed=2))
    np.testing.assert_array_equal(averages(layer), before)


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16", "float16"])
def test_statistics_are_float32_whatever_the_policy(dtype):
    layer = BatchNormalization(dtype=dtype)
    large = 1e3 * values(300)  # whose squares are beyond float16
    for _ in range(3):
        output = layer(large.astype("float16"), training=True)
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    assert {keras.backend.standardize_dtype(x.dtype) for x in layer.weights[2:]} == {"float32"}
    np.testing.assert_allclose(averages(layer)[1], large.var(axis=0), 0.03)


def test_a_file_without_a_count_loads_and_goes_on_with_its_averages(tmp_path):
    """As Keras' layer, which was here before, wrote it."""
    model = keras.Sequential([keras.Input((DIM,)), BatchNormalization(momentum=0.75)])
    model(values(20), training=True)
    expected = to_numpy(model(values(5)))
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new:
        new.extractall(tmp_path)
    with h5py.File(tmp_path / "model.weights.h5", "a") as weights:
        del weights["layers/batch_normalization/vars/4"]
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            old.write(tmp_path / name, name)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    np.testing.assert_allclose(loaded(values(5)), expected, 1e-6, 1e-6)
    loaded(values(9, seed=3), training=True)
    mean = 0.75 * values(20).mean(axis=0) + 0.25 * values(9, seed=3).mean(axis=0)
    np.testing.assert_allclose(loaded.layers[0].moving_mean, mean, 1e-5)


def test_recomputed_statistics_are_those_of_all_rows_layer_by_layer():
    model = keras.Sequential(
        [
            keras.Input((DIM,)),
            keras.layers.Dense(4, "tanh"),
            BatchNormalization(),
            keras.layers.Dropout(0.9),  # which is off
            keras.layers.Dense(2),
            BatchNormalization(),
        ]
    )
    rows = values(40)
    model(values(10, seed=1), training=True)
    recompute_statistics(model, rows, batch_size=40)
    hidden = np.tanh(rows @ to_numpy(model.layers[0].kernel) + to_numpy(model.layers[0].bias))
    first, _, dense, second = model.layers[1:]
    np.testing.assert_allclose(averages(first), [hidden.mean(0), hidden.var(0)], 1e-4, 1e-6)
    normal = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-3)
    out = normal @ to_numpy(dense.kernel) + to_numpy(dense.bias)
    np.testing.assert_allclose(averages(second), [out.mean(0), out.var(0)], 1e-4, 1e-5)
    assert float(first.batches) == 1  # training goes on as before
    recompute_statistics(model, rows, batch_size=13)  # the last batch has one row
    np.testing.assert_allclose(averages(first), [hidden.mean(0), hidden.var(0)], 1e-4, 1e-6)


def test_a_model_of_other_layers_has_no_statistics():
    normalized = keras.Sequential([keras.Input((DIM,)), BatchNormalization()])
    inputs = keras.Input((DIM,))
    nested = keras.Model(inputs, normalized(inputs))
    other = keras.Sequential([keras.Input((DIM,)), keras.layers.LayerNormalization()])
    assert [has_statistics(model) for model in (normalized, nested, other)] == [True, True, False]
    recompute_statistics(other, None)  # looks at no row


def test_a_failed_recomputation_leaves_no_layer_measuring():
    layer = BatchNormalization()
    model = keras.Sequential([keras.Input((DIM,)), layer])
    with pytest.raises(Exception, match=r"\b4\b"):
        recompute_statistics(model, np.ones((5, 4), "float32"))
    before = averages(layer)
    model(values(5))
    np.testing.assert_array_equal(averages(layer), before)


def test_a_momentum_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1\. Received: 1\.5"):
        BatchNormalization(momentum=1.5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's")
def test_replicas_keep_the_means_of_their_averages():
    mean, variance = in_another_process(_averages_of_two_replicas)
    halves = values(2, 32)
    np.testing.assert_allclose(mean, [halves.mean(axis=(0, 1))] * 2, 1e-5)
    np.testing.assert_allclose(variance, [halves.var(axis=1).mean(axis=0)] * 2, 1e-5)


def _averages_of_two_replicas():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        layer = BatchNormalization()
        model = keras.Sequential([keras.Input((DIM,)), layer])
        model.compile("sgd", "mse", jit_compile=False)
    rows = values(2, 32).reshape(64, DIM)
    model.fit(rows, rows, batch_size=64, shuffle=False, verbose=0)
    moving = (layer.moving_mean, layer.moving_variance)
    return [[copy.numpy() for copy in x.value.values] for x in moving]


FEATURES = FeatureSet(
    Categorical("user"),
    Categorical("item"),
    Categorical("hour"),
    label=Label("click"),
    vocabulary_sizes={"user": 60, "item": 40, "hour": 24},
)


def click_log(rows):
    draw = np.random.default_rng(0)
    columns, logit = [], np.zeros(rows)
    for feature in FEATURES.features:
        ids = FEATURES.id_ranges[feature.name]
        chosen = (len(ids) * draw.random(rows) ** 3).astype("int32")  # some are frequent
        logit += draw.normal(0, 1.5, len(ids))[chosen]
        columns.append(ids.start + chosen)
    clicks = draw.random(rows) < 1 / (1 + np.exp(-logit))
    return np.stack(columns, axis=1), clicks[:, None].astype("float32")


@pytest.mark.parametrize(
    "name", first_of(MODELS, 1 if keras.backend.backend() == "jax" else len(MODELS))
)
def test_moving_and_recomputed_statistics_score_the_same_after_any_number_of_steps(name):
    """The difference is within the noise of one batch's statistics against all rows'."""
    builder, arguments = MODELS[name]
    keras.utils.set_random_seed(0)
    inputs, clicks = click_log(5000)
    model = build_model(builder, FEATURES, dim=8, **arguments)
    model.compile(SparseAdam(), "binary_crossentropy", jit_compile=JIT)
    logit = keras.Model(model.inputs, model.get_layer("logit").output)
    order = np.random.default_rng(1)

    def batch():
        return order.permutation(5000)[:64]

    def logits_by_statistics_of(rows):
        recompute_statistics(model, {"categorical": inputs[rows]})
        return to_numpy(logit({"categorical": inputs[:1000]}))

    done = 0
    for steps in (1, 10, 100):
        for rows in (batch() for _ in range(steps - done)):
            model.train_on_batch({"categorical": inputs[rows]}, clicks[rows])
        done = steps
        weights, moving = model.get_weights(), to_numpy(logit({"categorical": inputs[:1000]}))
        recomputed = logits_by_statistics_of(slice(None))
        noise = np.std([logits_by_statistics_of(batch()) - recomputed for _ in range(6)])
        difference = np.sqrt(np.mean((moving - recomputed) ** 2))
        assert difference < 3 * noise  # three standard deviations
        model.set_weights(weights)
