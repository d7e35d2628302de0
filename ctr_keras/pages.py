"""HTML pages that need no other file and no network, and share a style."""

import importlib.resources
from collections.abc import Callable, Mapping
from typing import Any

import jinja2


def render(
    package: str, template: str, filters: Mapping[str, Callable[..., object]], **values: object
) -> str:
    """A template of a package, in which every text is escaped.

    Args:
        package: str. Whose template it is, `__package__`.
        template: str. Its file.
        filters: dict. The template's own filters by name.
        **values: what it shows. `style`, that of all pages, is added.

    Raises:
        jinja2.UndefinedError: if the template shows what is not there.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= filters
    return environment.from_string(_read(package, template)).render(
        style=_read("ctr_keras", "page.css"), **values
    )


def _read(package: str, name: str) -> Any:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
