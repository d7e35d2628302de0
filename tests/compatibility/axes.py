"""The axes of the compatibility matrix; the values of each stand cheapest first.

The suite leaves out what differs from another value in nothing that another axis can meet: most of
the optimizers that update each weight by its own gradient, as Adam does, or each row, as SparseSGD
does, and models that are another one with a fixed choice or one part more. `make matrix` has all of
them.
"""

import dataclasses
import importlib.util
import itertools
import os
from collections.abc import Callable

import keras

from ctr_keras import optimizers as ours
from ctr_keras.models import MODELS

KERAS = keras.optimizers
IS_WHOLE = "CTR_KERAS_MATRIX" in os.environ  # the folder of results that `make matrix` keeps
_LIKE_ADAM = {"AdamW", "Adagrad", "Ftrl", "RMSprop", "Adadelta", "Adamax", "Nadam", "Lion", "Lamb"}
_LIKE_ADAM |= {"ScheduleFreeAdamW", "DenseAdam"}
_LIKE_SPARSE_SGD = {"SparseAdagrad", "SparseFtrl"}
_BY_COST = ["FM", "DeepFM", "OptInter", "AutoInt", "GBDTFFM", "AIM", "MIAN"]
_HEAVY = {"AIM", "DIEN", "SIM", "MIAN"}
_LIKE_OTHERS = {"LR", "FFM", "GBDTLR", "IPNN", "AutoIntPlus", "FNN", "OptInterM", "OptInterF"}
_LIKE_OTHERS |= {"Poly2", "HOFM", "FwFM", "FmFM", "AFM", "NFM"}
_LIKE_OTHERS |= {"OPNN", "PIN", "WideDeep", "DeepCrossing", "CrossNet", "DCN", "GDCN", "CIN"}
_LIKE_OTHERS |= {"xDeepFM", "MaskNet", "FinalNet", "WuKong", "DIN", "BST", "ETA", "SDIM"}
_LIKE_OTHERS |= {"FiBiNET", "EDCN", "FinalMLP", "AFN", "DESTINE", "DLRM", "AOANet", "ONN"}
_LIKE_OTHERS |= {"SharedBottom", "MMoE", "AutoGroup", "AutoFeature"}


@dataclasses.dataclass(frozen=True)
class Combination:
    """One value of each axis. It runs in a process of its backend."""

    backend: str
    model: str
    optimizer: str
    precision: str
    save: str
    callback: str
    mode: str

    def __str__(self) -> str:
        return "-".join(dataclasses.astuple(self)[1:])


def _multi(rate):
    return KERAS.MultiOptimizer(KERAS.OptimizerMap(KERAS.Adam(rate), {".*bias": KERAS.SGD(rate)}))


SCALE = 2.0**7  # Keras' own of 2**15 skips the first steps to find one that does not overflow
# By name, what makes one with a learning rate or schedule.
OPTIMIZERS: dict[str, Callable] = {
    name: getattr(KERAS, name)
    for name in (
        *("SGD", "Adam", "AdamW", "Adagrad", "Ftrl", "RMSprop", "Adadelta", "Adamax", "Nadam"),
        *("Lion", "Lamb", "Adafactor", "Muon", "ScheduleFreeAdamW"),
    )
    if hasattr(KERAS, name)
}
OPTIMIZERS["LossScaleOptimizer"] = lambda rate: KERAS.LossScaleOptimizer(KERAS.Adam(rate), SCALE)
if hasattr(KERAS, "MultiOptimizer"):
    OPTIMIZERS["MultiOptimizer"] = _multi
OPTIMIZERS |= {
    "SparseSGD": ours.SparseSGD,
    "SparseAdam": ours.SparseAdam,
    "SparseAdam exact": lambda rate: ours.SparseAdam(rate, exact=True),
    "SparseAdagrad": ours.SparseAdagrad,
    "SparseFtrl": ours.SparseFtrl,
    "GRDA": ours.GRDA,
    "RoutedOptimizer": lambda rate: ours.RoutedOptimizer(
        ours.SparseAdam(rate), {"bias$": KERAS.SGD(rate)}
    ),
    "AlternatingOptimizer": lambda rate: ours.AlternatingOptimizer(
        KERAS.Adam(rate), {"bias$": KERAS.SGD(rate)}
    ),
    "PruningOptimizer": lambda rate: ours.PruningOptimizer(
        KERAS.Adam(rate), {"table$": 0.5}, damping=0.0, every=1
    ),
}
if hasattr(ours, "DenseAdam"):
    OPTIMIZERS["DenseAdam"] = ours.DenseAdam

# By name, what `compile` is given.
MODES = {
    "eager": {"run_eagerly": True},
    "compiled": {},
    "XLA": {"jit_compile": True},
}
PRECISIONS = ["float32", "int8", "mixed_bfloat16", "mixed_float16"]
SAVES = ["weights", ".keras", "SavedModel", "Checkpoint", "ONNX", "LiteRT"]
CALLBACKS = [
    "LearningRateScheduler",
    "ReduceLROnPlateau",
    "schedule",  # in the optimizer
    "ModelCheckpoint",
    "TensorBoard",
    "EarlyStopping",
    "BackupAndRestore",
]
BACKENDS = ["tensorflow", "jax", *(["torch"] if importlib.util.find_spec("torch") else [])]
AXES = {
    "backend": BACKENDS,
    "model": [
        name
        for name in sorted(
            MODELS, key=lambda name: _BY_COST.index(name) if name in _BY_COST else -1
        )
        if IS_WHOLE or name not in _LIKE_OTHERS
    ],
    "optimizer": [
        name for name in OPTIMIZERS if IS_WHOLE or name not in _LIKE_ADAM | _LIKE_SPARSE_SGD
    ],
    "precision": PRECISIONS,
    "save": SAVES,
    "callback": CALLBACKS,
    "mode": list(MODES),
}


STRENGTH = 3 if IS_WHOLE else 2


def tuples() -> list[dict[str, str]]:
    """Every value of two axes together; of the whole matrix, on each backend."""
    return [
        dict(zip(names, values, strict=True))
        for names in itertools.combinations(AXES, STRENGTH)
        if "backend" in names or not IS_WHOLE
        for values in itertools.product(*(AXES[name] for name in names))
    ]


def cheapest_first(axis: str, given: dict[str, str]) -> list[str]:
    """The values of an axis that go with those given of others.

    JAX compiles every operation that it runs eagerly. In the suite, no heavy model meets the mode
    that takes longest.
    """
    if axis != "mode":
        return AXES[axis]
    values = AXES[axis][::-1] if given.get("backend") == "jax" else AXES[axis]
    return values if IS_WHOLE or given.get("model") not in _HEAVY else values[:-1]


if __name__ == "__main__":
    print(*BACKENDS)
