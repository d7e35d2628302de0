"""Several optimizers in one `fit`: who moves what, saved, compiled, and in turns."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.optimizers import GRDA, AlternatingOptimizer, RoutedOptimizer, SparseAdam
from tests.optimizers.training import assert_same, summed, trained
from tests.packed import FEW_STEPS

pytestmark = pytest.mark.backend

DRAW = np.random.default_rng(0)
INPUTS, LABELS = DRAW.normal(size=(64, 3)), DRAW.normal(size=(64, 1))


def model_with(optimizer, compiled=FEW_STEPS):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="output")(hidden))
    model.compile(optimizer, loss="mse", **compiled)
    return model


def fitted(optimizer, **more):
    model = model_with(optimizer, **more)
    model.fit(INPUTS, LABELS, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return model


def values(model):
    return [ops.convert_to_numpy(weight) for weight in model.trainable_weights]


def adam_and_grda(optimizer=RoutedOptimizer):
    return optimizer(keras.optimizers.Adam(0.01), {"bias$": GRDA(0.1, c=0.001)})


@pytest.mark.parametrize("resting", ["weights", "biases"])
def test_each_optimizer_moves_its_own_variables_only(resting):
    """One that does not move shows that the other moves just the rest."""
    still = keras.optimizers.SGD(0.0)
    moving = keras.optimizers.Adam(0.01)
    default, route = (still, moving) if resting == "weights" else (moving, still)
    model = model_with(RoutedOptimizer(default, {"bias$": route}))
    before = values(model)
    model.fit(INPUTS, LABELS, batch_size=16, verbose=0)
    moved = [(old != new).any() for old, new in zip(before, values(model), strict=True)]
    assert moved == [is_bias == (resting == "weights") for is_bias in (False, True, False, True)]


def test_all_optimizers_use_gradients_of_the_same_step():
    """With the same optimizer behind every route, it is that optimizer."""
    rmsprop = keras.optimizers.RMSprop
    routed = fitted(RoutedOptimizer(rmsprop(0.01), {"bias$": rmsprop(0.01), "^hid": rmsprop(0.01)}))
    for mine, its in zip(values(routed), values(fitted(rmsprop(0.01))), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)


@pytest.mark.parametrize("optimizer", [RoutedOptimizer, AlternatingOptimizer])
def test_compiled_or_not_it_is_the_same(optimizer):
    compiled = fitted(adam_and_grda(optimizer), compiled={"jit_compile": True})
    plain = fitted(adam_and_grda(optimizer), compiled={"jit_compile": False})
    for mine, its in zip(values(compiled), values(plain), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", [RoutedOptimizer, AlternatingOptimizer])
def test_saved_and_restored_it_goes_on_as_if_nothing_had_been(optimizer, tmp_path):
    model = fitted(adam_and_grda(optimizer))
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert len(restored.optimizer.variables) == len(model.optimizer.variables)
    for one in (model, restored):
        one.fit(INPUTS, LABELS, batch_size=16, shuffle=False, verbose=0)
    for mine, its in zip(values(model), values(restored), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_checkpoint_holds_each_moment_once(tmp_path):
    fitted(adam_and_grda()).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    shapes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file["optimizer"].visititems(lambda _, item: shapes.append(getattr(item, "shape", None)))
    assert shapes.count((3, 4)) == 2  # Adam's two of the first kernel


def test_optimizers_take_turns():
    sgd = keras.optimizers.SGD
    model = model_with(AlternatingOptimizer(sgd(0.1, momentum=0.9), {"bias$": sgd(0.1)}))
    for step in range(4):
        before = values(model)
        model.train_on_batch(INPUTS, LABELS)
        moved = [(old != new).any() for old, new in zip(before, values(model), strict=True)]
        is_turn_of_biases = step % 2 == 1
        assert moved == [is_turn_of_biases == is_bias for is_bias in (False, True, False, True)]
    steps = [int(one.iterations) for one in model.optimizer.optimizers]
    assert steps == [2, 2]  # a rest counts for nothing, in schedules and momenta either


def test_a_route_that_takes_nothing_is_named():
    with pytest.raises(ValueError, match="route 'gates' takes none of the variables: hidden/kern"):
        fitted(RoutedOptimizer("adam", {"gates": "sgd"}))


def test_an_optimizer_has_one_route():
    sgd = keras.optimizers.SGD(0.1)
    with pytest.raises(ValueError, match="each route needs an optimizer of its own"):
        RoutedOptimizer("adam", {"bias$": sgd, "kernel$": sgd})


def test_the_first_route_wins():
    sgd = keras.optimizers.SGD
    model = model_with(RoutedOptimizer(sgd(0.1), {"hidden/bias": sgd(0.0), "bias$": sgd(0.1)}))
    before = values(model)
    model.fit(INPUTS, LABELS, verbose=0)
    moved = [(old != new).any() for old, new in zip(before, values(model), strict=True)]
    assert moved == [True, False, True, True]


def test_learning_rate_is_that_of_the_default():
    optimizer = adam_and_grda()
    optimizer.learning_rate = 0.5
    assert float(optimizer.learning_rate) == 0.5
    assert float(optimizer.default.learning_rate) == 0.5


OPTIONS = {
    "ema": {"use_ema": True, "ema_momentum": 0.5},
    "clipping": {"clipnorm": 0.1},
    "global clipping": {"global_clipnorm": 0.1},
    "accumulation": {"gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_the_optimizers_hold_for_their_variables(option):
    """Where one takes all variables, it is that optimizer."""

    def sgd():
        return keras.optimizers.SGD(0.1, **OPTIONS[option])

    routed = RoutedOptimizer(keras.optimizers.SGD(0.0), {".": sgd()})
    expected = values(fitted(sgd()))
    for mine, its in zip(values(fitted(routed)), expected, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-7)
    without = values(fitted(keras.optimizers.SGD(0.1)))
    assert any(np.abs(mine - its).max() > 1e-3 for mine, its in zip(without, expected, strict=True))


def test_averages_are_those_of_an_optimizers_own_turns():
    def averaged():
        return keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)

    model = model_with(AlternatingOptimizer(averaged(), {"bias$": averaged()}))
    bias, seen = model.trainable_weights[1], []
    for _ in range(4):
        model.train_on_batch(INPUTS, LABELS)
        seen.append(ops.convert_to_numpy(bias))
    first, second = seen[1], seen[3]  # after its turns; the average starts with the first
    model.optimizer.finalize_variable_values(model.trainable_weights)
    np.testing.assert_allclose(ops.convert_to_numpy(bias), (first + second) / 2, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [RoutedOptimizer, AlternatingOptimizer])
def test_exact_adam_is_dense_adam_on_its_route(optimizer):
    adam = keras.optimizers.Adam
    exact = optimizer(adam(0.01), {"table$": SparseAdam(0.01, exact=True)})
    dense = optimizer(summed(adam(0.01)), {"table$": summed(adam(0.01))})
    assert_same(trained(exact), trained(dense), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    "scaled",
    [
        lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    ],
    ids=["factor", "dynamic"],
)
@pytest.mark.parametrize("as_default", [False, True])
def test_an_optimizer_that_scales_the_loss_is_refused(scaled, as_default):
    default, route = (scaled(), "sgd") if as_default else ("sgd", scaled())
    with pytest.raises(ValueError, match=r"cannot scale it: give no loss_scale_factor"):
        RoutedOptimizer(default, {"bias$": route})


def test_weights_of_all_optimizers_can_be_set():
    """As Keras does for a model in a `.h5` file."""
    model, other = fitted(adam_and_grda()), model_with(adam_and_grda())
    other.optimizer.build(other.trainable_variables)
    saved = [ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    other.optimizer.set_weights(saved)
    for variable, value in zip(other.optimizer.variables, saved, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
