"""What models, runs and searches take, as their source files say it: importing them imports Keras,
which takes seconds, and a misspelled name should not.

Names, types, defaults and docstrings are read. Whatever else may be wrong is found by those who are
outlined here.
"""

import ast
import collections.abc
import contextlib
import functools
import pathlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pydantic

from ctr_keras import plan, settings
from ctr_keras import types as types_of_arrays
from ctr_keras.descriptions import descriptions
from ctr_keras.settings import Fields

TREES = "LightGBM"  # what stands for a model's name in a run of trees
_ROOMS = ("runs", "trees", "models", "training", "search")
_LAYERS = "layers"  # to which docstrings of models refer
# Arguments that `register` adds.
_OF_BUILDERS = {"check_ids": False, "numeric_embedding": "linear", "crossed": False}
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


def models() -> dict[str, dict[str, Any]]:
    """What a `ModelEntry` says of each model but how it is built, by its name.

    Example:

    >>> models()["LR"]["family"]
    'linear'
    """
    untold = dataclass_defaults("ModelEntry")
    return {name: untold | _told(decorator) for name, (_, decorator) in _builders().items()}


def _told(decorator: ast.Call) -> dict[str, Any]:
    """What `register` is told of a model."""
    positional = dict(zip(("summary", "reference"), decorator.args, strict=True))
    named = {keyword.arg: keyword.value for keyword in decorator.keywords if keyword.arg}
    return {name: ast.literal_eval(value) for name, value in (positional | named).items()}


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
    return Fields(declared | dict.fromkeys(_added(decorator), Any))


def _added(decorator: ast.Call) -> dict[str, Any]:
    """The arguments that `register` adds to a builder, with their defaults."""
    told = _told(decorator)
    left_out = {"crossed"} & told.keys()
    if told["family"] in _WITHOUT_EMBEDDINGS:
        left_out.add("numeric_embedding")
    return {name: value for name, value in _OF_BUILDERS.items() if name not in left_out}


def builder_defaults(model: str) -> dict[str, Any]:
    """The arguments of a model's builder with their defaults.

    One that hands on what it is given has those of the builder that it calls which it describes.

    Example:

    >>> builder_defaults("LR")["linear_l2"]
    0.0
    """
    node, decorator = _builders()[model]
    if node.args.kwarg:
        calls = (ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call))
        handed_on = builder_defaults(next(name for name in calls if name in _builders()))
        described = descriptions(model, docstrings())
        return {name: value for name, value in handed_on.items() if name in described}
    positional, named = node.args.args, node.args.kwonlyargs
    of_positional = positional[len(positional) - len(node.args.defaults) :]
    pairs = [*zip(of_positional, node.args.defaults, strict=True)]
    pairs += [
        (each, value) for each, value in zip(named, node.args.kw_defaults, strict=True) if value
    ]
    return {argument.arg: _value(value) for argument, value in pairs} | _added(decorator)


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


def dataclass_defaults(name: str) -> dict[str, Any]:
    """The settings of a dataclass that need not be given, with their defaults.

    Example:

    >>> dataclass_defaults("TrainConfig")["epochs"]
    50
    """
    return {
        ast.unparse(field.target): _value(field.value)
        for field in _fields(name)
        if field.value is not None
    }


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


@functools.cache
def docstrings() -> Mapping[str, str]:
    """Those of all classes and functions, layers among them, by name.

    Example:

    >>> docstrings()["LR"].splitlines()[0]
    'Logistic regression on all fields: a weight for each value, and a bias.'
    """
    nodes = (node for module in (*_modules(), *_parsed(_LAYERS)) for node in module.body)
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name: ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)}


def base_of(search: str) -> str | None:
    """The model that a class of searches is on unless it is told, None of one that has none."""
    (node,) = (node for node in _statements(ast.ClassDef) if node.name == search)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "base":
            return str(ast.literal_eval(statement.value)) if statement.value else None
    return None


@functools.cache
def _modules() -> list[ast.Module]:
    return [module for room in _ROOMS for module in _parsed(room)]


def _parsed(room: str) -> Iterable[ast.Module]:
    paths = sorted((pathlib.Path(__file__).parent / room).glob("*.py"))
    return (ast.parse(path.read_text("utf-8")) for path in paths)


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


def _value(node: ast.expr) -> Any:
    """A default: a literal, the name of one, or what a `dataclasses.field` makes, a dict."""
    if isinstance(node, ast.Name):
        return {**vars(plan), **_constants()}[node.id]
    return {} if isinstance(node, ast.Call) else ast.literal_eval(node)


@functools.cache
def _constants() -> Mapping[str, Any]:
    """The literals that have a name of their own."""
    found = {}
    for node in _statements(ast.Assign):
        if isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


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
