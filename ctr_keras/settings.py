"""Settings of runs: read from YAML and `key=value`, each of the type of its default."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import yaml


def read_settings(
    path: str | None, overrides: Iterable[str], given: dict[str, Any]
) -> dict[str, Any]:
    """Settings from a YAML file, changed by `given` and then by `key=value` texts.

    Args:
        path: str or None. The YAML file.
        overrides: list of str. `key=value`, the value written as in YAML.
        given: dict.

    Raises:
        ValueError: for a file that holds no settings, or a text that is not `key=value`.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        with open(path, encoding="utf-8") as file:
            settings = yaml.safe_load(file) or {}
        if not isinstance(settings, dict):
            raise ValueError(f"{path}: expected keys and values. Received: {settings!r}")
    settings.pop("versions", None)  # a run's own config.yaml can be read back
    settings |= given
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"expected key=value. Received: {override!r}")
        settings[key] = yaml.safe_load(value)
    return settings


def check_settings(settings: Any, at_least_one: Iterable[str] = ()) -> None:
    """Sees that a dataclass' values are of the types of their defaults, and not too small.

    Args:
        settings: dataclass. Fields without a default, or with None as one, are not looked at.
        at_least_one: list of str. Fields that must be at least 1; the others at least 0.

    Raises:
        ValueError: naming the first setting that is wrong.
    """
    for field in dataclasses.fields(settings):
        _check(field, getattr(settings, field.name), 1 if field.name in at_least_one else 0)


def _check(field: Any, value: Any, minimum: int) -> None:
    if not isinstance(field.default, bool | int | float | str) or field.name == "jit_compile":
        return
    kind = type(field.default)
    is_right = isinstance(value, (int, float) if kind is float else kind)
    if not is_right or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{field.name} must be of type {kind.__name__}. Received: {value!r}")
    if isinstance(value, int | float) and value < minimum:
        raise ValueError(f"{field.name} must be at least {minimum}. Received: {value!r}")


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass as the dict that YAML gives back.

    Args:
        settings: dataclass.
    """
    return dict(yaml.safe_load(yaml.safe_dump(dataclasses.asdict(settings))))
