"""What holds of every test, doctests included: its place in the order, its seed, its memory.

A plugin rather than a `conftest.py`, as it also holds of the doctests outside this folder.
"""

import collections
import gc
import pathlib
import sys
import weakref
from collections.abc import Iterator
from unittest import mock

import pytest

ROOT = pathlib.Path(__file__).parent.parent
gc.disable()  # until all tests are collected: what is imported stays
# Rooms whose tests share no fixture that is expensive to make: each may run on any worker.
# Elsewhere the tests of a file stay together.
SPREAD = [
    ROOT / "tests" / room for room in ("layers", "models", "optimizers", "tables", "compatibility")
]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Checks that workers know the groups, and makes collecting garbage cheap.

    What the libraries have made of themselves by now, most of all objects, is not to be looked
    through, and the rest not after every 700 objects, of which a small graph has more. And Keras
    collects all garbage whenever a layer drops a weight, as each that is quantized does: most of
    the time that quantizing a small model takes.
    """
    import keras

    if session.config.getoption("loadgroup", False):
        groups = [i for i in session.items if i.get_closest_marker("xdist_group")]
        assert all("@" in item.nodeid for item in groups), "pytest-xdist does not know the groups"
    _inspect_methods_once()
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)
    drop = keras.Layer.__delattr__

    def drop_alone(layer: keras.Layer, name: str) -> None:
        with mock.patch.object(gc, "collect"):
            drop(layer, name)

    keras.Layer.__delattr__ = drop_alone


def _inspect_methods_once() -> None:
    """Beam asks for the arguments of a transform's methods again and again: a quarter of a job."""
    if "apache_beam" not in sys.modules:
        return
    from apache_beam.transforms import core

    inspect = core.get_function_args_defaults
    found: weakref.WeakKeyDictionary[object, tuple[list, list]] = weakref.WeakKeyDictionary()

    def inspect_once(function: object) -> tuple[list, list]:
        method = getattr(function, "__func__", None)
        if method is None:
            return inspect(function)
        if method not in found:
            found[method] = inspect(function)
        names, defaults = found[method]
        return [*names], [*defaults]

    core.get_function_args_defaults = inspect_once


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: what stays together; units with the most slow tests come first."""
    for item in items:
        if not any(item.path.is_relative_to(room) for room in SPREAD):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))
    slow = collections.Counter(_unit(item) for item in items if "slow" in item.keywords)
    items.sort(key=lambda item: -slow[_unit(item)])


def _unit(item: pytest.Item) -> str:
    """What goes to a worker as a whole: a group, or a test without one."""
    group = item.get_closest_marker("xdist_group")
    return item.nodeid if group is None else str(group.args[0])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same state of all generators: Python's, NumPy's and Keras'."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _weights_are_made_without_compiling(request: pytest.FixtureRequest) -> Iterator[None]:
    """But those that a test wants drawn as Keras does."""
    import keras

    if keras.backend.backend() != "jax" or request.node.get_closest_marker("own_draws"):
        yield
        return
    from tests.draws import make_weights_by_numpy

    with pytest.MonkeyPatch.context() as patch:
        make_weights_by_numpy(patch)
        yield


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs() -> Iterator[None]:
    """JAX keeps every program it has compiled; thousands of small ones fill the memory."""
    import keras

    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture(autouse=True)
def _tensors_are_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests compare a model's outputs to arrays; PyTorch has them detached first."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        array = torch.Tensor.__array__
        monkeypatch.setattr(
            torch.Tensor,
            "__array__",
            lambda tensor, dtype=None, copy=None: array(tensor.detach(), dtype),
        )


@pytest.fixture(scope="session")
def server_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """What the examples of `serving` ask."""
    from tests.serving.example_models import running_server

    with running_server(tmp_path_factory.mktemp("examples") / "models") as server:
        yield server


@pytest.fixture(autouse=True)
def _names_of_examples(
    request: pytest.FixtureRequest,
    doctest_namespace: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """The names that examples of `serving` use, and the folder that holds `models`."""
    is_example = isinstance(request.node, pytest.DoctestItem)
    if not (is_example and request.node.path.is_relative_to(ROOT / "serving")):
        yield
        return
    from tests.serving.example_models import names_of_examples

    server = request.getfixturevalue("server_of_examples")
    monkeypatch.chdir(pathlib.Path(server._options.models).parent)
    with names_of_examples(server) as found:
        doctest_namespace.update(found)
        yield
