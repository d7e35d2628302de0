"""Streaming metrics against the exact ones, in batches and in `fit`."""

import keras
import numpy as np
import pytest

from ctr_keras import metrics
from ctr_keras.metrics import streaming
from tests.packed import JIT

pytestmark = pytest.mark.backend

CLASSES = {
    "auc": streaming.AUC,
    "pr_auc": streaming.PRAUC,
    "log_loss": streaming.LogLoss,
    "normalized_entropy": streaming.NormalizedEntropy,
    "calibration_ratio": streaming.CalibrationRatio,
    "expected_calibration_error": streaming.ExpectedCalibrationError,
}
TOLERANCE = {"auc": 1e-5, "pr_auc": 3e-4, "expected_calibration_error": 1e-4}
# Of few rows, whose order within a bin is a matter of chance.
ROUGH = {"auc": 3e-4, "pr_auc": 2e-3, "expected_calibration_error": 1e-2}


def some_rows(rows=20_000, seed=0):
    draw = np.random.default_rng(seed)
    logits = draw.normal(-2, 1, rows)
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    return (draw.random(rows) < scores**1.2).astype("float32"), scores, draw.random(rows)


def streamed(metric, *columns, batch=3000):
    for start in range(0, len(columns[0]), batch):
        metric.update_state(*(column[start : start + batch, None] for column in columns))
    return float(metric.result())


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_batches_have_the_exact_value(name, is_weighted):
    labels, scores, weights = some_rows()
    columns = (labels, scores, weights) if is_weighted else (labels, scores)
    metric = CLASSES[name]()
    assert metric.name == name
    expected = getattr(metrics, name)(*columns)
    assert streamed(metric, *columns) == pytest.approx(expected, abs=TOLERANCE.get(name, 1e-6))
    metric.reset_state()
    assert np.isnan(float(metric.result()))
    first = [column[:500] for column in columns]
    expected = getattr(metrics, name)(*first)
    assert streamed(metric, *first) == pytest.approx(expected, abs=ROUGH.get(name, 1e-6))


@pytest.mark.parametrize("bins", [20, 300, 16384])
@pytest.mark.parametrize("name", ["auc", "pr_auc"])
def test_the_exact_value_is_within_the_bounds(name, bins):
    labels, scores, weights = some_rows()
    metric = CLASSES[name](bins)
    value = streamed(metric, labels, scores, weights)
    low, high = (float(bound) for bound in metric.bounds())
    exact = getattr(metrics, name)(labels, scores, weights)
    assert low - 1e-6 <= exact <= high + 1e-6
    assert low - 1e-6 <= value <= high + 1e-6
    if bins == 16384:
        assert high - low < (6e-4 if name == "auc" else 1e-2)


@pytest.mark.parametrize("name", ["auc", "pr_auc"])
def test_the_bounds_are_the_best_and_the_worst_order_in_a_bin(name):
    labels = np.array([1, 0, 0, 1, 0, 1, 1, 0, 0], "float32")
    scores = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.1, 0.1], "float32")
    metric = CLASSES[name]()
    value = streamed(metric, labels, scores)
    low, high = (float(bound) for bound in metric.bounds())
    steps = labels * np.linspace(1e-4, 1e-3, 9)  # no two clicks are equal
    worst, best = (getattr(metrics, name)(labels, scores + sign * steps) for sign in (-1, 1))
    if name == "auc":
        assert (low, high) == pytest.approx((worst, best))
    assert low - 1e-6 <= worst <= value <= best <= high + 1e-6


def test_rela_impr_is_over_the_baseline():
    labels, scores, _ = some_rows()
    metric = streaming.RelaImpr(0.6)
    expected = metrics.rela_impr(metrics.auc(labels, scores), 0.6)
    assert streamed(metric, labels, scores) == pytest.approx(expected, abs=1e-4)
    low, high = (float(bound) for bound in metric.bounds())
    assert low < expected < high


@pytest.mark.parametrize(
    ("metric", "sums"), [(streaming.LogLoss, ["weight"]), (streaming.AUC, ["histogram"])]
)
def test_sums_do_not_end_where_float32_has_no_further_integer(metric, sums):
    metric = metric()
    metric.update_state([0], [0.5], [2.0**24])
    for _ in range(10):
        metric.update_state([0], [0.5])
    names = [name for of_sum in sums for name in (of_sum, f"{of_sum}_rest")]
    total, rest = (np.sum(v) for v in metric.variables if v.name in names)
    assert (total, rest) == (2.0**24, 10)


@pytest.mark.parametrize("name", CLASSES)
def test_without_a_value_it_is_nan(name):
    metric = CLASSES[name]()
    assert np.isnan(float(metric.result()))
    metric.update_state([0, 0], [0.25, 0.25])
    has_value = name in ("log_loss", "expected_calibration_error")
    assert np.isnan(float(metric.result())) != has_value
    metric.update_state([1, 0], [0.5, 0.25])
    assert not np.isnan(float(metric.result()))
    metric.update_state([1, 0], [np.nan, 0.25])
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("name", CLASSES)
def test_certain_scores_are_in_the_last_bins(name):
    labels, scores = np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 0.5])
    metric = CLASSES[name]()
    metric.update_state(labels, scores)
    expected = getattr(metrics, name)(labels, scores)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_configs_and_wrong_arguments():
    for metric in (
        streaming.AUC(bins=7, name="a"),
        streaming.RelaImpr(0.7, bins=7),
        streaming.ExpectedCalibrationError(buckets=3, bins=7),
        *(of() for of in CLASSES.values()),
    ):
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()
    with pytest.raises(ValueError, match="bins must be 1 or more"):
        streaming.AUC(0)
    with pytest.raises(ValueError, match="buckets must be 1 or more"):
        streaming.ExpectedCalibrationError(0)
    with pytest.raises(ValueError, match="baseline_auc must be above"):
        streaming.RelaImpr(0.5)


def compiled(policy="float32", **arguments):
    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(1, activation="sigmoid", dtype=policy)]
    )
    model.compile("sgd", "binary_crossentropy", jit_compile=JIT, **arguments)
    return model


def some_inputs():
    draw = np.random.default_rng(0)
    inputs, weights = draw.normal(size=(500, 4)).astype("float32"), draw.random(500)
    labels = draw.random((500, 1)) < 1 / (1 + np.exp(-2 * inputs[:, :1]))
    return inputs, labels.astype("float32"), weights


def test_in_fit_and_evaluate_they_are_those_of_the_scores(tmp_path):
    inputs, labels, weights = some_inputs()
    model = compiled(
        metrics=[of() for of in CLASSES.values()],
        weighted_metrics=[of(name=f"weighted_{name}") for name, of in CLASSES.items()],
    )
    data = {"x": inputs, "y": labels, "sample_weight": weights, "batch_size": 64}
    history = model.fit(**data, validation_data=(inputs, labels, weights), verbose=0).history
    scores = model.predict(inputs, verbose=0)
    for name in CLASSES:
        for key, given in ((name, None), (f"weighted_{name}", weights)):
            expected = getattr(metrics, name)(labels, scores, given)
            actual = history[f"val_{key}"][-1]
            assert actual == pytest.approx(expected, abs=ROUGH.get(name, 1e-5)), key
            assert history[key][0] != actual  # of the scores before the last steps
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.evaluate(**data, verbose=0)
    assert again.evaluate(**data, verbose=0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_scores_of_low_precision_are_summed_in_float32(policy):
    labels, scores, _ = some_rows(500)
    scores = np.round(scores * 128) / 128  # float16 and bfloat16 have these
    of_inputs = keras.layers.Activation("linear", dtype=policy)
    model = keras.Sequential([keras.layers.Input((1,)), of_inputs])
    model.compile(loss="mse", metrics=[of() for of in CLASSES.values()], jit_compile=JIT)
    found = model.evaluate(scores[:, None], labels, 64, verbose=0, return_dict=True)
    for name in CLASSES:
        expected = getattr(metrics, name)(labels, scores)
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_sums_lose_nothing_where_xla_compiles_them():
    # A compiler that reassociated (total - (new - part)) would drop what was rounded away.
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Activation("sigmoid")])
    metric = streaming.CalibrationRatio()
    model.compile(loss="binary_crossentropy", weighted_metrics=[metric], jit_compile=True)
    weights = np.array([2.0**24, 1, 1])
    model.evaluate(np.zeros((3, 1)), np.ones((3, 1)), 1, sample_weight=weights, verbose=0)
    sums = {variable.name: float(variable) for variable in metric.variables}
    assert (sums["clicks"], sums["clicks_rest"]) == (2.0**24, 2)


def test_the_callback_logs_the_exact_report_and_can_be_monitored():
    draw = np.random.default_rng(0)
    inputs, users = draw.normal(size=(200, 4)).astype("float32"), draw.integers(0, 20, 200)
    labels, weights = draw.integers(0, 2, 200).astype("float32"), draw.random(200)
    model = compiled()
    exact = streaming.ExactValidation(inputs, labels, users, weights, k=3, batch_size=64)
    stop = keras.callbacks.EarlyStopping("val_auc_by_group", mode="max", min_delta=1, patience=0)
    history = model.fit(inputs, labels, epochs=4, callbacks=[exact, stop], verbose=0).history
    assert len(history["loss"]) == 2  # nothing is better by 1
    scores = model.predict(inputs, verbose=0)
    expected = metrics.report(labels, scores, weights, users, k=3)
    assert expected.pop("undefined") == {}
    logged = {k.removeprefix("val_"): v[-1] for k, v in history.items() if k != "loss"}
    assert logged == pytest.approx(expected, rel=1e-5)


def test_the_callback_leaves_out_what_has_no_value():
    inputs, labels = np.ones((4, 4), "float32"), np.zeros(4)
    exact = streaming.ExactValidation(inputs, labels)
    history = compiled().fit(inputs, labels, callbacks=[exact], verbose=0).history
    assert "val_log_loss" in history
    assert "val_auc" not in history
