"""What is refused: which combinations, with which message, and why."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from tests.compatibility.axes import AXES, Combination


@dataclasses.dataclass(frozen=True, eq=False)
class Refusal:
    """A pattern of values of some axes, whose combinations raise.

    Attributes:
        where: by axis, the values that are refused together.
        message: regular expression that the whole message begins with.
        why: the reason, for the page.
        raised_by: whose error it is. One of this library has a single line.
        error: its class.
    """

    where: Mapping[str, Sequence[str]]
    message: str
    why: str
    raised_by: str = "ctr-keras"
    error: type[Exception] = ValueError

    def values(self, axis: str) -> list[str]:
        """The values of an axis that it names and that exist here."""
        return [value for value in AXES[axis] if value in self.where[axis]]

    def rules_out(self, values: Mapping[str, str]) -> bool:
        """Whether it names only values that are among the given ones."""
        return all(values.get(axis) in named for axis, named in self.where.items())

    def fits(self, error: Exception) -> bool:
        """Whether an error is the one that it announces."""
        is_one_line = self.raised_by != "ctr-keras" or "\n" not in str(error)
        return isinstance(error, self.error) and self.begins(str(error)) and is_one_line

    def begins(self, message: str) -> bool:
        """Whether a message begins as it announces."""
        return re.match(self.message, message) is not None


_BY_ROWS = ("SparseSGD", "SparseAdam", "SparseAdam exact", "SparseAdagrad", "SparseFtrl")

EXPECTED: tuple[Refusal, ...] = (
    Refusal(
        {"optimizer": [*_BY_ROWS, "RoutedOptimizer"], "precision": ["mixed_float16"]},
        "a sparse optimizer cannot undo the loss scale of mixed_float16",
        "the scale that Keras changes from step to step is undone in gradients of whole tables",
    ),
    Refusal(
        {"optimizer": ["SparseAdam exact"], "callback": ["schedule"]},
        r"SparseAdam\(exact=True\) takes no schedule",
        "steps that a row has missed are made up for in closed form, with one learning rate",
    ),
    Refusal(
        {"optimizer": ["PruningOptimizer"], "precision": ["int8"], "save": [".keras"]},
        r"'table\$' is found in none of the variables",
        "int8 takes the tables that it prunes from the weights that are trained: load with "
        "compile=False",
    ),
    Refusal(
        {"optimizer": ["Adafactor"]},
        "Adafactor cannot train tables",
        "in Keras, factors of rows without a gradient underflow to NaN; on TensorFlow, rows that "
        "are read twice are mixed up",
    ),
    Refusal(
        {
            "backend": ["tensorflow"],
            "precision": ["mixed_bfloat16", "mixed_float16"],
            "save": ["ONNX", "LiteRT"],
        },
        ".* computes in (bfloat16|float16), .* build it under float32",
        "ONNX Runtime and LiteRT cannot load what Keras writes of a model of mixed precision",
    ),
    Refusal(
        {
            "optimizer": ["MultiOptimizer"],
            "precision": ["mixed_float16"],
            "callback": ["LearningRateScheduler"],
        },
        "Optimizer must have a .learning_rate. attribute",
        "Keras' loss scale hides the optimizers of a MultiOptimizer",
        raised_by="Keras",
    ),
    Refusal(
        {
            "optimizer": ["MultiOptimizer"],
            "precision": ["mixed_float16"],
            "callback": ["ReduceLROnPlateau"],
        },
        "Learning rate cannot be accessed on a MultiOptimizer",
        "Keras' loss scale hides the optimizers of a MultiOptimizer",
        raised_by="Keras",
        error=AttributeError,
    ),
    Refusal(
        {
            "backend": ["tensorflow"],
            "optimizer": ["MultiOptimizer"],
            "precision": ["float32", "mixed_bfloat16", "mixed_float16"],
            "save": ["Checkpoint"],
        },
        "\nNot equal to tolerance",
        "a limit without a message: Keras keeps its optimizers in a dict, which "
        "tf.train.Checkpoint passes over: moments start anew; save `.keras` instead",
        raised_by="nobody",
        error=AssertionError,
    ),
    Refusal(
        {
            "backend": ["jax"],
            "model": ["MIAN"],
            "precision": ["mixed_float16"],
            "mode": ["compiled", "XLA"],
        },
        "The precision 'F16_F16_F32' is not supported by dot_general on CPU",
        "JAX compiles its attention in float16 for accelerators alone; use mixed_bfloat16",
        raised_by="JAX",
    ),
    Refusal(
        {"backend": ["jax"], "save": ["LiteRT"]},
        "LiteRT export requires TensorFlow or PyTorch backend",
        "Keras converts to LiteRT from a program of TensorFlow or PyTorch",
        raised_by="Keras",
    ),
    Refusal(
        {"backend": ["jax"], "save": ["ONNX"]},
        "This requires the jax2onnx module",
        "Keras exports JAX models to ONNX by jax2onnx, which is not installed here",
        raised_by="Keras",
        error=ImportError,
    ),
    Refusal(
        {"backend": ["jax"], "save": ["Checkpoint"]},
        "`Checkpoint` was expecting model to be a trackable object",
        "a tf.train.Checkpoint holds TensorFlow's variables; save `.keras` instead",
        raised_by="TensorFlow",
    ),
)


def refusals_of(combination: Combination) -> list[Refusal]:
    """The refusals that a combination falls under."""
    return [one for one in EXPECTED if one.rules_out(dataclasses.asdict(combination))]
