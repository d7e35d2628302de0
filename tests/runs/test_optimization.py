"""Settings of how weights learn: what they stand for, step by step against NumPy, and mistakes."""

import types

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.keras_internals import averages
from ctr_keras.runs import Optimization
from tests.optimizers.test_options import STARTS, STEPS, sparse
from tests.optimizers.training import BY_ROWS

ROUND_STEPS, ROUNDS = 2, 4  # twice as many steps as are walked
PLACES = 5


def numpy_rate(settings, step):
    """The learning rate of a step, from 0."""
    warmup = settings.get("warmup_steps", 0)
    ramp = min((step + 1) / warmup, 1) if warmup else 1
    step = max(step - warmup, 0)
    if settings.get("schedule") == "cosine":
        progress = min(step / (ROUND_STEPS * ROUNDS - warmup), 1)
        return ramp * 0.1 * (1 + np.cos(np.pi * progress)) / 2
    decay = settings["learning_rate_decay"] if settings.get("schedule") == "exponential" else 1
    return ramp * 0.1 * decay ** (step // ROUND_STEPS)


class Adam:
    decay = 0.0

    def __init__(self, weight):
        self.momentum, self.velocity, self.steps = np.zeros_like(weight), np.zeros_like(weight), 0

    def step(self, weight, gradient, rows, rate):
        self.steps += 1
        g = gradient[rows]
        self.momentum[rows] = 0.9 * self.momentum[rows] + 0.1 * g
        self.velocity[rows] = 0.999 * self.velocity[rows] + 0.001 * g**2
        m = self.momentum[rows] / (1 - 0.9**self.steps)
        v = self.velocity[rows] / (1 - 0.999**self.steps)
        weight[rows] -= rate * self.decay * weight[rows]
        weight[rows] -= rate * m / (np.sqrt(v) + 1e-8)


class AdamW(Adam):
    decay = 0.3


class Adagrad:
    def __init__(self, weight):
        self.sums = np.full_like(weight, 0.1)

    def step(self, weight, gradient, rows, rate):
        self.sums[rows] += gradient[rows] ** 2
        weight[rows] -= rate * gradient[rows] / np.sqrt(self.sums[rows] + 1e-7)


class Momentum:
    def __init__(self, weight):
        self.momentum = np.zeros_like(weight)

    def step(self, weight, gradient, rows, rate):
        self.momentum[rows] = 0.9 * self.momentum[rows] - rate * gradient[rows]
        weight[rows] += self.momentum[rows]


class Ftrl:
    """Algorithm 1 of McMahan et al., with lambda_1 = 0.2, and n that starts at 0.1."""

    def __init__(self, weight):
        self.n, self.z = np.full_like(weight, 0.1), np.zeros_like(weight)

    def step(self, weight, gradient, rows, rate):
        g, w = gradient[rows], weight[rows]
        grown = self.n[rows] + g**2
        self.z[rows] += g - (np.sqrt(grown) - np.sqrt(self.n[rows])) / rate * w
        self.n[rows] = grown
        z = self.z[rows]
        stepped = -(z - np.sign(z) * 0.2) * rate / np.sqrt(grown)
        weight[rows] = np.where(np.abs(z) <= 0.2, 0.0, stepped)


NUMPY = {"adam": Adam, "adamw": AdamW, "adagrad": Adagrad, "sgd": Momentum, "ftrl": Ftrl}


def numpy_walked(settings, momentum):
    """Table and dense variable after the steps, and their averages."""
    values = [start.astype("float64") for start in STARTS]
    names = [settings.get("table_optimizer", settings["optimizer"]), settings["optimizer"]]
    methods = [NUMPY[name](value) for name, value in zip(names, values, strict=True)]
    means = [np.copy(value) for value in values]
    for number, (read, places, dense) in enumerate(STEPS):
        table = np.zeros_like(values[0])
        np.add.at(table, read, places[:PLACES])
        gradients = [table, dense.astype("float64")]
        if limit := settings.get("max_gradient_norm"):
            shared = "table_optimizer" not in settings
            groups = [[0, 1]] if shared else [[0], [1]]
            for group in groups:
                norm = np.sqrt(sum((gradients[i] ** 2).sum() for i in group))
                for i in group:
                    gradients[i] = gradients[i] * min(1, limit / norm)
        for i, rows in enumerate([np.unique(read), np.arange(len(dense))]):
            methods[i].step(values[i], gradients[i], rows, numpy_rate(settings, number))
            share = momentum if number else 0
            means[i] = share * means[i] + (1 - share) * values[i]
    return values, means


SETTINGS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "adagrad": {"optimizer": "adagrad"},
    "sgd": {"optimizer": "sgd", "optimizer_args": {"momentum": 0.9}},
    "ftrl": {"optimizer": "ftrl", "optimizer_args": {"l1_regularization_strength": 0.2}},
    "two": {"optimizer": "adam", "table_optimizer": "adagrad", "max_gradient_norm": 2.0},
    "clipped": {"optimizer": "adam", "max_gradient_norm": 3.0, "schedule": "cosine"},
    "exponential": {"optimizer": "adam", "schedule": "exponential", "learning_rate_decay": 0.5},
    "warm cosine": {"optimizer": "adagrad", "schedule": "cosine", "warmup_steps": 3},
    "warm falling": {
        **{"optimizer": "adam", "schedule": "exponential", "learning_rate_decay": 0.5},
        "warmup_steps": 1,
    },
}


def walked(optimization, **options):
    """The optimizer and the variables after the steps."""
    names = ("table", "dense")
    given = [keras.Variable(start, name=n) for start, n in zip(STARTS, names, strict=True)]
    given[0].is_table = True
    model = types.SimpleNamespace(trainable_variables=given)
    optimizer = optimization.make_optimizer(model, ROUND_STEPS, ROUNDS, **options)
    for read, places, dense in STEPS:
        optimizer.apply([sparse(read, places[:PLACES]), ops.convert_to_tensor(dense)], given)
    return optimizer, given


@pytest.mark.backend
@BY_ROWS
@pytest.mark.parametrize("name", SETTINGS)
def test_steps_are_those_of_numpy(name):
    optimization = Optimization(learning_rate=0.1, **SETTINGS[name])
    optimizer, given = walked(optimization, use_ema=True, ema_momentum=0.8)
    optimizer.catch_up_all()
    parts = getattr(optimizer, "optimizers", [optimizer])
    found = [ops.convert_to_numpy(a) for one in reversed(parts) for a in averages(one)]
    values, means = numpy_walked(SETTINGS[name], momentum=0.8)
    for actual, expected in zip(given, values, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, rtol=2e-4, atol=2e-5)
    for actual, expected in zip(found, means, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.backend
def test_accumulated_gradients_are_those_of_a_larger_batch():
    given = [keras.Variable(start) for start in STARTS]
    whole = [keras.Variable(start) for start in STARTS]
    settings = {"table_updates": "dense", "learning_rate": 0.1}
    model = types.SimpleNamespace(trainable_variables=given)
    two = Optimization(**settings, gradient_accumulation_steps=2).make_optimizer(model, 2, 2)
    one = Optimization(**settings).make_optimizer(model, 2, 2)
    gradients = np.random.default_rng(1).normal(size=(4, *STARTS.shape)).astype("float32")
    for gradient in gradients:
        two.apply([ops.convert_to_tensor(g) for g in gradient], given)
    for pair in gradients.reshape(2, 2, *STARTS.shape):
        one.apply([ops.convert_to_tensor(g) for g in pair.mean(axis=0)], whole)
    for actual, expected in zip(given, whole, strict=True):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (actual, expected)), rtol=1e-5)
        assert np.abs(ops.convert_to_numpy(actual) - STARTS[0]).max() > 0.01


@pytest.mark.backend
def test_a_plateau_multiplies_the_rates_of_all_optimizers():
    rates = {"learning_rate": 0.5, "table_learning_rate": 0.2}
    two = Optimization(table_optimizer="adagrad", schedule="plateau", **rates)
    optimizer, _ = walked(two)
    two.set_rates(optimizer, plateaus=2)
    found = [float(one.learning_rate) for one in optimizer.optimizers]
    assert found == pytest.approx([0.005, 0.002])
    one = Optimization(schedule="plateau", learning_rate_decay=0.5)
    optimizer, _ = walked(one)
    one.set_rates(optimizer, plateaus=3)
    assert float(optimizer.learning_rate) == pytest.approx(0.000125)


PATHS = ("embedding/table", "memorized/table", "factors/table", "deep/kernel")


def rates_of(settings, plateaus=0):
    """By variable, the rate of its optimizer."""
    model = types.SimpleNamespace()
    model.trainable_variables = [
        types.SimpleNamespace(path=path, is_table=path.endswith("table")) for path in PATHS
    ]
    optimization = Optimization(learning_rate=0.4, schedule="plateau", **settings)
    optimizer = optimization.make_optimizer(model, 2, 2)
    optimization.set_rates(optimizer, plateaus)
    routes = [optimizer._route(variable) for variable in model.trainable_variables]
    return [float(optimizer.optimizers[route].learning_rate) for route in routes]


def test_single_tables_have_rates_of_their_own():
    own = {"table_learning_rates": {"memorized": 0.1, "factors": 0.2}}
    assert rates_of(own) == pytest.approx([0.4, 0.1, 0.2, 0.4])
    assert rates_of(own, plateaus=1) == pytest.approx([0.04, 0.01, 0.02, 0.04])
    others = {"table_optimizer": "sgd", "table_learning_rate": 0.3}
    assert rates_of(own | others) == pytest.approx([0.3, 0.1, 0.2, 0.4])
    every = {"table_learning_rates": dict.fromkeys(("embedding", "memorized", "factors"), 0.1)}
    assert rates_of(every | others) == pytest.approx([0.1, 0.1, 0.1, 0.4])


def test_a_rate_of_a_table_that_is_not_there_is_named():
    message = "no layer 'memorised' of the model holds a table; .*: embedding, memorized, factors"
    with pytest.raises(ValueError, match=message):
        rates_of({"table_learning_rates": {"memorised": 0.1}})


@pytest.mark.backend
@pytest.mark.parametrize(("smoothing", "gamma"), [(0.0, None), (0.2, None), (0.1, 2.0)])
def test_losses_of_rows_are_those_of_numpy(smoothing, gamma):
    labels = np.array([[1.0], [0.0], [1.0]], "float32")
    scores = np.array([[0.9], [0.3], [0.2]], "float32")
    kind = {"loss": "focal", "focal_gamma": gamma} if gamma else {}
    loss = Optimization(label_smoothing=smoothing, **kind).make_loss()
    smoothed = labels * (1 - smoothing) + smoothing / 2
    costs = -smoothed * np.log(scores) - (1 - smoothed) * np.log(1 - scores)
    if gamma:
        costs *= (1 - (smoothed * scores + (1 - smoothed) * (1 - scores))) ** gamma
    assert float(loss(labels, scores)) == pytest.approx(costs.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamm"}, "optimizer must be 'adam', 'adamw', .* got 'adamm'"),
        ({"weight_decay": 0.1}, "weight_decay needs optimizer=adamw"),
        ({"table_learning_rate": 0.1}, "table_learning_rate needs a table_optimizer"),
        ({"schedule": "exponential"}, "schedule=exponential needs a learning_rate_decay"),
        ({"learning_rate_decay": 0.5}, "learning_rate_decay=0.5 does not go with schedule=const"),
        ({"schedule": "plateau", "warmup_steps": 2}, "schedule=plateau takes no warmup_steps"),
        ({"table_updates": "exact", "optimizer": "sgd"}, "table_updates=exact needs Adam"),
        ({"table_updates": "dense", "table_optimizer": "ftrl"}, "table_updates=dense needs Adam"),
        ({"table_updates": "exact", "optimizer": "adamw"}, "takes no weight decay: set table_up"),
        ({"table_updates": "exact", "schedule": "cosine"}, "schedule=cosine does not go with"),
        ({"table_updates": "exact", "warmup_steps": 9}, "warmup_steps does not go with"),
        ({"gradient_accumulation_steps": 4}, "needs table_updates=dense: set a batch_size 4 times"),
        ({"optimizer_args": {"nesterow": True}}, "optimizer_args of adam: .*nesterow"),
        ({"optimizer_args": {"amsgrad": True}}, "optimizer_args of adam: SparseAdam takes no ams"),
        ({"table_learning_rate": 0.0}, "table_learning_rate needs a table_optimizer"),
        ({"table_optimizer_args": {"beta_1": 0.5}}, "table_optimizer_args needs a table_optimizer"),
        (
            {"optimizer_args": {"use_ema": True}},
            "optimizer_args: use_ema .* set averaging",
        ),
        ({"optimizer_args": {"ema_momentum": 0.9}}, "ema_momentum .*, set averaging instead"),
        ({"optimizer_args": {"global_clipnorm": 1.0}}, ", set max_gradient_norm instead"),
        ({"optimizer_args": {"exact": True}}, "exact .*, set table_updates instead"),
        ({"optimizer_args": {"epsilon": 1e-3}}, "epsilon .*, set epsilon instead"),
        ({"optimizer_args": {"weight_decay": 0.1}}, "weight_decay .*, set weight_decay instead"),
        ({"optimizer_args": {"learning_rate": 0.1}}, ", set learning_rate instead"),
        (
            {"table_optimizer": "sgd", "table_optimizer_args": {"learning_rate": 0.1}},
            "table_optimizer_args: .*, set table_learning_rate instead",
        ),
        (
            {"optimizer_args": {"gradient_accumulation_steps": 2}},
            ", set gradient_accumulation_steps instead",
        ),
        (
            {"optimizer_args": {"beta_1": "abc"}},
            "optimizer_args of adam: beta_1 must be a number, got 'abc'",
        ),
        ({"optimizer_args": {"beta_2": 1.5}}, "optimizer_args of adam: beta_2 must be below 1"),
        (
            {"optimizer": "ftrl", "optimizer_args": {"l1_regularization_strength": "x"}},
            "optimizer_args of ftrl: l1_regularization_strength must be a number, got 'x'",
        ),
        ({"focal_gamma": 3.0}, "focal_gamma=3 needs loss=focal"),
        (
            {"schedule": "plateau", "learning_rate_decay": 2.0},
            "learning_rate_decay must be at most 1, got 2",
        ),
        (
            {"schedule": "exponential", "learning_rate_decay": 1.5},
            "learning_rate_decay must be at most 1, got 1.5",
        ),
        ({"label_smoothing": 1.0}, "label_smoothing must be below 1, got 1.0"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        Optimization(**settings)
    assert "\n" not in str(error.value)
    assert error.value.keys[0] in settings


def test_arguments_that_no_setting_stands_for_are_taken():
    Optimization(optimizer="sgd", optimizer_args={"weight_decay": 0.1, "clipnorm": None})
    Optimization(optimizer="adagrad", optimizer_args={"epsilon": 1e-3})
