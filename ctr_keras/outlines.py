"""What models, runs and searches take, as their source files say it: importing them imports Keras,
which takes seconds, and a misspelled name should not.

Only names and types are read. Whatever else may be wrong is found by those who are outlined here.
"""

import ast
import collections.abc
import functools
import pathlib
import types
import typing
from collections.abc import Iterator
from typing import Any

import pydantic

from ctr_keras import settings
from ctr_keras import types as types_of_arrays
from ctr_keras.settings import Fields

_ROOMS = ("runs", "trees", "models", "training", "search")
_OF_BUILDERS = ("check_ids", "numeric_embedding", "crossed")  # which `register` adds
_WITHOUT_EMBEDDINGS = ("linear", "trees")  # families of models that have none of numbers


@functools.cache
def _builders() -> dict[str, tuple[ast.FunctionDef, ast.Call]]:
    """The builders of models by name, and how each is registered."""
    return {
        node.name: (node, decorator)
        for node in _statements(ast.FunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register"
    }


def models() -> list[str]:
    """The names of all models.

    Example:

    >>> {"DeepFM", "AutoInt"} <= {*models()}
    True
    """
    return [*_builders()]


def builder(model: str) -> Fields | None:
    """The arguments of a model's builder; None of one that hands on what it is given.

    Example:

    >>> [*builder("LR").types]
    ['linear_l2', 'embeddings_initializer', 'check_ids', 'crossed']
    """
    node, decorator = _builders()[model]
    if node.args.kwarg:
        return None
    _, *own = (*node.args.args, *node.args.kwonlyargs)  # the first one is the feature set
    declared = {argument.arg: _type(argument.annotation) for argument in own}
    given = {keyword.arg: keyword.value for keyword in decorator.keywords}
    left_out = {"crossed"} & given.keys()
    if ast.literal_eval(given["family"]) in _WITHOUT_EMBEDDINGS:
        left_out.add("numeric_embedding")
    return Fields(declared | {name: Any for name in _OF_BUILDERS if name not in left_out})


def dataclass(name: str) -> Fields:
    """The settings of a dataclass, by the name of its class.

    Example:

    >>> dataclass("TrainConfig").required
    ('data', 'model', 'out')
    """
    fields: dict[str, Any] = {}
    required = []
    for field in _fields(name):
        field_name = ast.unparse(field.target)
        fields[field_name] = _type(field.annotation)
        if field.value is None:
            required.append(field_name)
    return Fields(
        {each: fields[each] for each in dict.fromkeys((*required, *fields))}, (*required,)
    )


def _fields(name: str) -> Iterator[ast.AnnAssign]:
    """The fields of a dataclass, after those of the one below which it is."""
    found = [node for node in _statements(ast.ClassDef) if node.name == name]
    for node in found:
        for base in node.bases:
            yield from _fields(ast.unparse(base))
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and not _is_of_class(statement):
                yield statement


def _is_of_class(field: ast.AnnAssign) -> bool:
    return ast.unparse(field.annotation).startswith("ClassVar")


def searches() -> dict[str, str]:
    """The class of each method of searching.

    Example:

    >>> searches()["autofis"]
    'AutoFISSearch'
    """
    (methods,) = (
        node.value
        for node in _statements(ast.AnnAssign)
        if ast.unparse(node.target) == "SEARCHES" and isinstance(node.value, ast.Dict)
    )
    return {
        ast.literal_eval(key): ast.unparse(value)
        for key, value in zip(methods.keys, methods.values, strict=True)
        if key is not None
    }


def base_of(search: str) -> str | None:
    """The model that a class of searches is on unless it is told, None of one that has none."""
    (node,) = (node for node in _statements(ast.ClassDef) if node.name == search)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "base":
            return str(ast.literal_eval(statement.value)) if statement.value else None
    return None


@functools.cache
def _modules() -> list[ast.Module]:
    folder = pathlib.Path(__file__).parent
    paths = (path for room in _ROOMS for path in sorted((folder / room).glob("*.py")))
    return [ast.parse(path.read_text("utf-8")) for path in paths]


def _statements(kind: type[Any]) -> Iterator[Any]:
    """The statements of a kind at the top of all files."""
    for module in _modules():
        yield from (node for node in module.body if isinstance(node, kind))


def _type(annotation: ast.expr | None) -> Any:
    """A type; `Any` for one that only Keras, or another class of ours, makes."""
    return Any if annotation is None else _read(ast.unparse(annotation), _names())


def _read(text: str, names: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"of": text})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["of"]
    except NameError:
        return Any


@functools.cache
def _names() -> dict[str, Any]:
    """What annotations are written with: names of these modules, and aliases of our files."""
    names: dict[str, Any] = {"pydantic": pydantic, "Field": pydantic.Field}
    for module in (typing, collections.abc, pydantic.types, types_of_arrays, settings):
        names |= {name: value for name, value in vars(module).items() if not name.startswith("__")}
    for node in _statements(ast.AnnAssign):
        if ast.unparse(node.annotation) == "TypeAlias" and node.value is not None:
            names[ast.unparse(node.target)] = _read(ast.unparse(node.value), names)
    return names
