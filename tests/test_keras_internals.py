"""What Keras does not promise: one file uses it, and a release that moves it is told by name."""

import ast
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re
from collections.abc import Iterator

import keras
import pytest

import ctr_keras
from ctr_keras import keras_internals
from tests.conftest import ROOT

FILE = pathlib.Path(keras_internals.__file__).relative_to(ROOT)
PACKAGES = ("ctr_keras", "pipeline", "serving")


def quantized_dense():
    layer = keras.layers.Dense(1)
    layer.build((None, 1))
    layer.quantize("int8")
    return layer


OPTIMIZER = keras.optimizers.Optimizer
STATE = ["trainable_variables", "non_trainable_variables", "metrics_variables"]
BATCH = ["x", "y", "sample_weight"]


def averaging():
    optimizer = OPTIMIZER(0.1, use_ema=True)
    optimizer.build([])
    return optimizer


# Each name: where it is and the parameters of a method.
USED = {
    "_get_variable_index": (OPTIMIZER, ["variable"]),
    "_use_weight_decay": (OPTIMIZER, ["variable"]),
    "_apply_weight_decay": (OPTIMIZER, ["variables"]),
    "_backend_apply_gradients": (OPTIMIZER, ["grads", "trainable_variables"]),
    "_update_model_variables_moving_average": (OPTIMIZER, ["trainable_variables"]),
    "_model_variables_moving_average": (averaging(), None),
    "_var_key": (OPTIMIZER, ["variable"]),
    "_trainable_variables": (OPTIMIZER(0.1), None),
    "_trainable_variables_indices": (OPTIMIZER(0.1), None),
    "_flatten_layers": (keras.Model, ["include_self", "recursive"]),
    "_layers": (keras.layers.Layer(), None),
    "_run_through_graph": (keras.Function, ["inputs", "operation_fn", "call_fn"]),
    "_keras_history": (keras.Input((1,)), None),
    "_inbound_nodes": (keras.layers.Layer(), None),
    "_post_build": (keras.layers.Layer, []),
    "_is_quantized": (quantized_dense(), None),
}
USED_ON_TENSORFLOW = {"_all_reduce_sum_gradients": (OPTIMIZER, ["grads_and_vars"])}
USED_ON_JAX = {
    "compute_loss_and_updates": (
        keras.Model,
        [*STATE, *BATCH, "training", "optimizer_variables"],
    ),
    "_update_metrics_variables": (
        keras.Model,
        ["metrics_variables", "unscaled_loss", "x", "y", "y_pred", "sample_weight"],
    ),
}


def change(owner, name, parameters):
    """What has changed about an attribute of Keras and which file to mend, None for nothing."""
    label = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"
    if not hasattr(owner, name):
        return f"Keras {keras.__version__} has no {label}: mend {FILE}"
    if parameters is None:
        return None
    found = [each for each in inspect.signature(getattr(owner, name)).parameters if each != "self"]
    if found == parameters:
        return None
    return f"{label} of Keras {keras.__version__} takes {found}, not {parameters}: mend {FILE}"


@pytest.mark.parametrize("name", USED)
def test_keras_has_it(name):
    owner, parameters = USED[name]
    assert change(owner, name, parameters) is None


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an optimizer there has it")
@pytest.mark.parametrize("name", USED_ON_TENSORFLOW)
def test_keras_on_tensorflow_has_it(name):
    owner, parameters = USED_ON_TENSORFLOW[name]
    assert change(owner, name, parameters) is None


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a model of Keras on JAX has it")
@pytest.mark.parametrize("name", USED_ON_JAX)
def test_keras_on_jax_has_it(name):
    owner, parameters = USED_ON_JAX[name]
    assert change(owner, name, parameters) is None


def test_a_change_is_told_in_a_line():
    class Optimizer:
        def _moved(self, gradients):
            pass

    version = re.escape(keras.__version__)
    gone = change(Optimizer, "_gone", [])
    assert re.fullmatch(
        rf"Keras {version} has no Optimizer\._gone: mend ctr_keras/keras_internals\.py", gone
    )
    moved = change(Optimizer, "_moved", ["grads"])
    assert re.fullmatch(
        rf"Optimizer\._moved of Keras {version} takes \['gradients'\], not \['grads'\]: mend .*",
        moved,
    )
    assert change(Optimizer, "_moved", ["gradients"]) is None


def test_the_lists_above_name_all_that_the_file_uses():
    used = private_uses(ast.parse((ROOT / FILE).read_text()), own=set())
    names = {name for _, name in used} | {"compute_loss_and_updates"}
    assert names == {*USED, *USED_ON_TENSORFLOW, *USED_ON_JAX}


# No other file does. A private name is one of Keras' if Keras' source has it and our package's
# does not define it, or if a class of ours has it from Keras and defines it anew.


@functools.cache
def names_in_keras() -> frozenset[str]:
    """Names with one underscore that are attributes or functions somewhere in Keras."""
    source = pathlib.Path(keras.__file__).parent / "src"
    pattern = re.compile(r"(?:def |\.)(_[a-z]\w*)")
    files = [path for path in source.rglob("*.py") if not path.name.endswith("_test.py")]
    assert len(files) > 300
    return frozenset(name for path in files for name in pattern.findall(path.read_text()))


def own_names(tree: ast.Module) -> set[str]:
    """The names that a file's functions, classes and assignments to `self` define."""
    defined = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return defined | {
        node.attr
        for node in attributes
        if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in ("self", "cls")
    }


def private_uses(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """(line, name) of what a file uses of Keras' private names, but for our own."""
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value  # getattr(model, "_name")
        elif isinstance(node, ast.Import | ast.ImportFrom) and "keras.src" in ast.unparse(node):
            yield node.lineno, "keras.src"
        if name in names_in_keras() and name not in own:
            yield node.lineno, name


@functools.cache
def own_names_of(room: pathlib.Path) -> frozenset[str]:
    trees = (ast.parse(path.read_text()) for path in room.glob("*.py"))
    return frozenset().union(*map(own_names, trees))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_file_touches_a_private_attribute_of_keras(package):
    found = [
        f"{path.relative_to(ROOT)}:{line} uses {name} of Keras"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != ROOT / FILE
        for line, name in private_uses(ast.parse(path.read_text()), own=own_names_of(path.parent))
    ]
    assert not found, f"{'; '.join(found)}: such uses belong into {FILE}"


@pytest.mark.parametrize(
    "planted",
    [
        "optimizer._get_variable_index(variable)",
        "class Mine(keras.Model):\n    def f(self):\n        return self._losses_override",
        "getattr(model, '_loss_tracker')",
        "from keras.src import backend",
        "import keras.src.backend",
    ],
)
def test_a_planted_use_is_found(planted):
    tree = ast.parse(planted)
    assert len(list(private_uses(tree, own_names(tree)))) == 1


def classes_from_keras() -> Iterator[type]:
    """The library's classes that derive from one of Keras."""
    for module in pkgutil.walk_packages(ctr_keras.__path__, "ctr_keras."):
        if re.search(r"\.(on_\w+|resident)$", module.name):  # of one backend each
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and value.__module__ == module.name and keras_bases(value):
                yield value


def keras_bases(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if base.__module__.startswith("keras.")]


def defined_anew(kind: type) -> set[str]:
    """Private names of a class, `self.<name>` included, that its bases in Keras have as well."""

    def names(one: type) -> set[str]:
        assigned = re.findall(r"self\.(_[a-z]\w*)\b[^=\n]*=[^=]", inspect.getsource(one))
        methods = (name for name in vars(one) if re.fullmatch(r"_[a-z]\w*", name))
        return {*assigned, *methods}

    return names(kind) & set().union(*map(names, keras_bases(kind)))


def test_a_planted_definition_is_found():
    class Planted(keras.optimizers.SGD):
        def _apply_weight_decay(self, variables):
            self._iterations = len(variables)

    assert defined_anew(Planted) == {"_apply_weight_decay", "_iterations"}


def test_no_class_of_ours_defines_a_private_name_of_its_base_anew():
    classes = list(classes_from_keras())
    assert len(classes) > 20
    found = {kind.__qualname__: defined_anew(kind) for kind in classes}
    found = {name: names for name, names in found.items() if names}
    assert found == {
        "AveragesByRows": {"_update_model_variables_moving_average"},
        "DecaysInUpdateStep": {"_apply_weight_decay"},
        "HandsGradientsOn": {"_backend_apply_gradients"},
        "FinishesBuild": {"_post_build"},
    }
