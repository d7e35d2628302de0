"""Who may import what (BUILD.md, "Rooms"), and what importing the library brings along."""

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

# Room: what it must never import. `tf.keras` is forbidden everywhere.
FORBIDDEN = {
    "ctr_keras/features": "keras tensorflow tensorflow_transform apache_beam jax torch",
    "ctr_keras/plan.py": "keras tensorflow tensorflow_transform apache_beam jax torch ctr_keras",
    "ctr_keras/tables/__init__.py": "tensorflow jax torch ctr_keras.layers ctr_keras.models",
    "ctr_keras/tables": "torch ctr_keras.layers ctr_keras.models ctr_keras.optimizers",
    "ctr_keras/layers": "tensorflow jax torch ctr_keras.models ctr_keras.data pipeline serving",
    "ctr_keras/models": "tensorflow jax torch ctr_keras.data ctr_keras.training pipeline serving",
    "ctr_keras/metrics": "tensorflow jax torch ctr_keras.models pipeline serving",
    "ctr_keras/data": "tensorflow_transform apache_beam pipeline serving",
    "ctr_keras/training": "tensorflow_transform apache_beam pipeline serving",
    "ctr_keras/optimizers": "tensorflow jax torch ctr_keras.models ctr_keras.data pipeline serving",
    "ctr_keras/search": "tensorflow jax torch tensorflow_transform apache_beam pipeline serving",
    "ctr_keras/explain": "tensorflow jax torch tensorflow_transform apache_beam pipeline serving",
    "ctr_keras/testing": "tensorflow_transform apache_beam pipeline serving",
    "ctr_keras": "ctr_keras.cli tensorflow_transform apache_beam",
    "pipeline": "keras ctr_keras.layers ctr_keras.models serving ctr_keras.cli",
    "serving": "tensorflow_transform apache_beam pipeline ctr_keras.cli",
}


def imported_modules(path: pathlib.Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(room: str) -> list[pathlib.Path]:
    path = ROOT / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_room_imports_only_what_it_may(room):
    forbidden = FORBIDDEN[room].split()
    assert files_of(room)
    for path in files_of(room):
        if path.name == "cli.py":  # the one room that may use all others
            continue
        for module in imported_modules(path):
            for name in forbidden:
                assert module != name, f"{path} imports {name}"
                assert not module.startswith(f"{name}."), f"{path} imports {module}"


@pytest.mark.parametrize("room", ["ctr_keras", "pipeline", "serving", "benchmarks", "examples"])
def test_nobody_uses_the_keras_inside_tensorflow(room):
    for path in files_of(room):
        for node in ast.walk(ast.parse(path.read_text())):
            is_tf_keras = (
                isinstance(node, ast.Attribute)
                and node.attr == "keras"
                and isinstance(node.value, ast.Name)
                and node.value.id == "tf"
            )
            assert not is_tf_keras, f"{path}:{node.lineno} uses tf.keras"


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


def test_features_need_nothing_heavy():
    loaded = modules_after("import ctr_keras.features")
    assert not loaded & {"keras", "tensorflow", "apache_beam", "tensorflow_transform"}


def test_layers_need_neither_beam_nor_transform():
    loaded = modules_after("import ctr_keras.layers, ctr_keras.models, ctr_keras.metrics")
    assert "keras" in loaded
    assert not loaded & {"apache_beam", "tensorflow_transform", "tensorflow_serving", "tf_keras"}


def test_command_line_starts_without_the_heavy_parts():
    loaded = modules_after("import ctr_keras.cli")
    assert not loaded & {"keras", "tensorflow", "apache_beam", "tensorflow_transform"}
