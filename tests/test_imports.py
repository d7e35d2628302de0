"""Who may import what: the table in BUILD.md ("Rooms") holds, line by line."""

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

OURS = ("ctr_keras", "pipeline", "serving")


def read_rooms(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """The table's rooms, each with the modules it may import and those it must never import."""
    table = text.split("## Rooms\n\n", 1)[1].split("\n\n", 1)[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    names = [row[0].strip("`").rstrip("/").replace("/", ".").removesuffix(".py") for row in rows]
    return {
        name: tuple(
            [_module(word, names) for word in re.findall(r"`([^`]+)`", cell)] for cell in row[2:4]
        )
        for name, row in zip(names, rows, strict=True)
    }


def _module(word: str, names: list[str]) -> str:
    """The table writes rooms of the library without `ctr_keras.`."""
    return f"ctr_keras.{word}" if f"ctr_keras.{word}" in names else word


ROOMS = read_rooms((ROOT / "BUILD.md").read_text())


def room_of(module: str) -> str | None:
    """The innermost room that a module is in."""
    rooms = [room for room in ROOMS if _is_within(module, room)]
    return max(rooms, key=len, default=None)


def _is_within(module: str, other: str) -> bool:
    return module == other or module.startswith(f"{other}.")


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """The line and name of each import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            submodules = (f"{node.module}.{alias.name}" for alias in node.names)
            found = [name for name in submodules if name in MODULES]
            yield from ((node.lineno, name) for name in found or [node.module or ""])


def violations(module: str, source: str) -> list[str]:
    """What a module imports that its room may not, or must not."""
    room = room_of(module)
    assert room is not None, f"{module} is in no room of the table in BUILD.md"
    may, never = ROOMS[room]
    wrong = []
    for line, name in imported_modules(source):
        is_free = name.split(".")[0] in sys.stdlib_module_names or room_of(name) == room
        is_allowed = (
            is_free
            or room_of(name) in may
            or any(_is_within(name, other) for other in may if not other.startswith(OURS))
        )
        if not is_allowed or any(_is_within(name, other) for other in never):
            wrong.append(f"{module}, line {line}: {room} may not import {name}")
    return wrong


def module_name(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for top in OURS for path in sorted((ROOT / top).rglob("*.py"))}


def test_every_room_is_there_and_every_module_is_in_one():
    assert len(ROOMS) > 20
    for room in ROOMS:
        assert any(_is_within(module, room) for module in MODULES), f"no room {room}"
    assert all(room_of(module) for module in MODULES)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    for module, path in MODULES.items():
        if room_of(module) == room:
            assert not violations(module, path.read_text())


@pytest.mark.parametrize(
    ("room", "forbidden"), [(room, name) for room in ROOMS for name in ROOMS[room][1]]
)
def test_a_planted_import_is_found(room, forbidden):
    module = next(name for name in MODULES if room_of(name) == room)
    planted = f"{MODULES[module].read_text()}\n\ndef planted():\n    import {forbidden}\n"
    assert violations(module, planted)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ctr_keras.metrics.binary", "import keras"),
        ("ctr_keras.runs", "from serving import client"),
        ("ctr_keras.runs", "import pipeline.sources"),
        ("ctr_keras.settings", "from pipeline.datasets import DATASETS"),
        ("ctr_keras.layers.mlp", "import requests"),  # in neither column
        ("ctr_keras.layers.mlp", "from ctr_keras.models import base"),
        ("serving.client.clients", "from serving.server import core"),
    ],
)
def test_what_once_passed_is_found(module, statement):
    path = MODULES.get(module) or MODULES[f"{module}.run"]
    assert violations(module, f"{path.read_text()}\n{statement}\n")


@pytest.mark.parametrize("module", MODULES)
def test_nobody_uses_the_keras_inside_tensorflow(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        is_tf_keras = (
            isinstance(node, ast.Attribute)
            and node.attr == "keras"
            and isinstance(node.value, ast.Name)
            and node.value.id == "tf"
        )
        assert not is_tf_keras, f"{module}, line {node.lineno}: tf.keras"


def modules_after(statement: str, keras_backend: str = "tensorflow") -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"KERAS_BACKEND": keras_backend, "PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_features_and_settings_need_nothing_heavy():
    loaded = modules_after("import ctr_keras.features, ctr_keras.settings")
    assert not loaded & {"keras", "tensorflow", "apache_beam", "tensorflow_transform", "pyarrow"}


def test_layers_need_neither_beam_nor_transform():
    loaded = modules_after("import ctr_keras.layers, ctr_keras.models, ctr_keras.metrics")
    assert {"keras", "ctr_keras.trees"} <= loaded
    assert "lightgbm" not in loaded
    assert not loaded & {"apache_beam", "tensorflow_transform", "tensorflow_serving", "tf_keras"}


def test_command_line_starts_without_the_heavy_parts():
    loaded = modules_after("import ctr_keras.cli")
    assert not loaded & {"keras", "tensorflow", "apache_beam", "tensorflow_transform"}
