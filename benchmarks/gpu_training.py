"""Training AutoInt and DeepFM with Keras on JAX, everything on one accelerator.

    python -m benchmarks.gpu_training
    python -m benchmarks.gpu_training --models AutoInt --precisions bfloat16 --ids 10000000

AutoInt is that of FuxiCTR's benchmark Criteo_x4_001: 5 layers of one head of width 64, embeddings
of width 16, batches of 10,000; DeepFM has a tower of 3 x 400. 39 categorical fields of random ids,
all rows on the device, and many steps in one dispatch. It needs JAX, Keras and what Keras needs, no
TensorFlow.

One JSON line for each model and precision, each measured in a process of its own: examples a second
(the median of the repetitions), the peak of the device's memory, and the roofline: what the device
could reach at most if it did nothing but the step's matrix products or nothing but its memory
traffic (as XLA compiled it), whichever takes longer.
"""

import argparse
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from jax.interpreters import partial_eval

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import build_model
from ctr_keras.optimizers import SparseAdam

State = tuple[list[Any], ...]  # trainable, other, the optimizer's and metrics' variables

FIELDS = tuple(f"field_{index}" for index in range(39))
MODELS: dict[str, dict[str, Any]] = {
    "AutoInt": {"dim": 16, "layers": 5, "head_dim": 64, "heads": 1},
    "DeepFM": {"dim": 16, "hidden": (400, 400, 400), "dropout": 0.0},
}


class Precision(NamedTuple):
    """Keras' dtype policy, and how JAX multiplies what is float32 all the same."""

    policy: str
    matmul: str


PRECISIONS = {
    "float32": Precision("float32", "highest"),
    "tf32": Precision("float32", "tensorfloat32"),
    "bfloat16": Precision("mixed_bfloat16", "tensorfloat32"),
}


class Peak(NamedTuple):
    """What a device can do: operations a second by precision, and bytes a second."""

    flops: dict[str, float]
    bandwidth: float


PEAKS = {  # by the beginning of the device's kind; dense matrices
    "NVIDIA H200": Peak({"float32": 67e12, "tf32": 494e12, "bfloat16": 989e12}, 4.8e12),
    "NVIDIA H100": Peak({"float32": 67e12, "tf32": 494e12, "bfloat16": 989e12}, 3.35e12),
    "NVIDIA A100": Peak({"float32": 19.5e12, "tf32": 156e12, "bfloat16": 312e12}, 1.56e12),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What to measure.

    Attributes:
        model: str. A name in `MODELS`.
        precision: str. A name in `PRECISIONS`.
        ids: int. Of all fields.
        rows: int. How many are on the device.
        batch_size: int.
        steps: int. In a dispatch.
        repetitions: int. Dispatches that count.
    """

    model: str
    precision: str
    ids: int = 1_000_000
    rows: int = 1_000_000
    batch_size: int = 10_000
    steps: int = 100
    repetitions: int = 7


class Training:
    """The step that `fit` takes, as a function of all variables.

    Args:
        model: keras.Model, compiled.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        model.optimizer.build(model.trainable_variables)

    def state(self) -> State:
        """The variables at the start."""
        model = self.model
        kinds = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        return tuple([variable.value for variable in of_kind] for of_kind in kinds)

    def step(self, state: State, ids: Any, clicks: Any) -> tuple[State, Any]:
        """One step on a batch, `(batch, fields)` and `(batch, 1)`: the next state, and the loss."""
        logs, state = self.model.train_step(state, ({"categorical": ids}, clicks))
        return state, logs["loss"]

    def steps(self, state: State, ids: Any, clicks: Any, order: Any) -> tuple[State, Any]:
        """Steps on the batches of an order, cut from all rows on the device, and their losses.

        Args:
            state: State.
            ids: array `(batches, batch, fields)`.
            clicks: array `(batches, batch, 1)`.
            order: array `(steps,)` of batches.
        """
        return jax.lax.scan(
            lambda state, batch: self.step(state, ids[batch], clicks[batch]), state, order
        )


def measure(setting: Setting) -> dict[str, Any]:
    """Trains, and says how fast.

    Args:
        setting: Setting.

    Returns:
        The line to print. The roofline is left out for devices that are not in `PEAKS`, and the
        memory where the device does not report it.
    """
    precision = PRECISIONS[setting.precision]
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision.policy)
    jax.config.update("jax_default_matmul_precision", precision.matmul)
    features = _features(setting.ids)
    model = build_model(setting.model, features, **MODELS[setting.model])
    model.compile(SparseAdam(1e-3), "binary_crossentropy")
    training = Training(model)
    ids, clicks = map(jax.device_put, _rows(features, setting))
    order = np.arange(setting.steps) % len(ids)
    state = training.state()
    cost = step_cost(training, state, ids[0], clicks[0])
    dispatch = jax.jit(training.steps, donate_argnums=0)
    losses, seconds = [], []
    for _ in range(1 + setting.repetitions):  # the first compiles
        started = time.perf_counter()
        state, loss = jax.block_until_ready(dispatch(state, ids, clicks, order))
        seconds.append(time.perf_counter() - started)
        losses.append(float(loss.mean()))
    examples = setting.steps * setting.batch_size
    rate = examples / statistics.median(seconds[1:])
    device = jax.devices()[0]
    memory = device.memory_stats()  # None on a CPU
    return {
        **dataclasses.asdict(setting),
        "device": device.device_kind,
        "examples_per_second": round(rate),
        "fastest": round(examples / min(seconds[1:])),
        **_roofline(cost, setting, rate, device.device_kind),
        "peak_memory_mb": round(memory["peak_bytes_in_use"] / 1e6) if memory else None,
        "parameters": model.count_params(),
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
    }


def _features(ids: int) -> FeatureSet:
    return FeatureSet(
        *map(Categorical, FIELDS),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(FIELDS, ids // len(FIELDS) - 1),
    )


def _rows(features: FeatureSet, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Batches of uniform ids, the worst case for caches; more odd ones than even are a click."""
    generator = np.random.default_rng(0)
    ranges = [features.id_ranges[name] for name in FIELDS]
    shape = (setting.rows // setting.batch_size, setting.batch_size, len(FIELDS))
    ids = generator.integers(
        [one.start for one in ranges], [one.stop for one in ranges], shape, "int32"
    )
    clicks = np.sum(ids % 2, axis=-1, keepdims=True) > len(FIELDS) // 2
    return ids, clicks.astype("float32")


class Cost(NamedTuple):
    """What one step takes."""

    flops: float
    bytes: float


def step_cost(training: Training, state: State, ids: Any, clicks: Any) -> Cost:
    """Operations of a step's matrix products, and memory traffic of what XLA makes of it.

    Args:
        training: Training.
        state: State.
        ids: array `(batch, fields)`.
        clicks: array `(batch, 1)`.
    """
    arguments = (state, ids, clicks)
    compiled = jax.jit(training.step, donate_argnums=0).lower(*arguments).compile()
    program = jax.make_jaxpr(training.step)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(program, [True] * len(program.outvars))
    return Cost(_matmul_flops(needed), compiled.cost_analysis()["bytes accessed"])


def _matmul_flops(program: Any) -> float:
    """Counted by hand, as XLA counts neither on a GPU nor a running sum as what it costs."""
    flops = 0.0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, result = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            flops += 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)
        flops += sum(_matmul_flops(inner) for inner in _programs(equation.params.values()))
    return flops


def _programs(values: Iterable[Any]) -> list[Any]:
    """Those among an equation's parameters, such as the bodies of loops and branches."""
    flat = itertools.chain.from_iterable(
        value if isinstance(value, (list, tuple)) else [value] for value in values
    )
    return [value for value in flat if hasattr(value, "eqns")]


def _roofline(cost: Cost, setting: Setting, rate: float, kind: str) -> dict[str, Any]:
    """The step's cost, and the examples a second that it allows on a device that is known."""
    line = {
        "mflop_per_example": round(cost.flops / setting.batch_size / 1e6, 2),
        "kb_per_example": round(cost.bytes / setting.batch_size / 1e3, 2),
    }
    known = [peak for name, peak in PEAKS.items() if kind.startswith(name)]
    if not known:
        return line
    times = {
        "compute": cost.flops / known[0].flops[setting.precision],
        "memory": cost.bytes / known[0].bandwidth,
    }
    bound = max(times, key=lambda name: times[name])
    roofline = setting.batch_size / times[bound]
    return {
        **line,
        "roofline_examples_per_second": round(roofline),
        "bound": bound,
        "of_roofline": round(rate / roofline, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    for field in dataclasses.fields(Setting):
        if field.default is not dataclasses.MISSING:
            option = f"--{field.name.replace('_', '-')}"
            parser.add_argument(option, type=int, default=field.default)
    arguments = vars(parser.parse_args())
    models, precisions = arguments.pop("models"), arguments.pop("precisions")
    if arguments["rows"] < arguments["batch_size"]:
        parser.error(f"--rows must be at least one batch, got {arguments}")
    settings = [Setting(*choice, **arguments) for choice in itertools.product(models, precisions)]
    # A process each, since a device's peak memory is that of the process.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        for line in pool.imap(measure, settings, chunksize=1):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
