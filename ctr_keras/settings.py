"""Settings: dataclasses whose fields say what they take, read from YAML, `key=value` and arguments.

A dataclass calls `check_settings(self)` when it is made. A `Source` knows where each setting was
written, so that an error is one line with the file, the line, the key and what is there:
`run.yaml, line 3: unknown setting 'lerning_rate'; did you mean 'learning_rate'?`
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TextIO, TypeAlias, TypeVar, get_type_hints

import pydantic
import yaml

from ctr_keras.types import Settings

T = TypeVar("T")


def _as_tuple(value: Any) -> Any:
    """YAML has lists, and callers have arrays, for a tuple."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    return tuple(value) if is_several else value


Count: TypeAlias = Annotated[int, pydantic.Field(ge=1)]
CountOrAuto: TypeAlias = Count | Literal["auto"]
Fraction: TypeAlias = Annotated[float, pydantic.Field(ge=0, lt=1)]
FractionOrAuto: TypeAlias = Fraction | Literal["auto"]
BoolOrAuto: TypeAlias = bool | Literal["auto"]
Seed: TypeAlias = Annotated[int, pydantic.Field(ge=0, le=2**32 - 1)]
TupleOf: TypeAlias = Annotated[tuple[T, ...], pydantic.BeforeValidator(_as_tuple)]

_EXPECTED = {  # errors of pydantic that it says in other words
    "bool_type": "true or false",
    "dict_type": "keys and values",
    "float_type": "a number",
    "greater_than_equal": "at least {ge:g}",
    "int_type": "an integer",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "sequence_str": "a list",
    "string_too_short": "a non-empty string",
    "too_short": "a non-empty list",
    "string_type": "a string",
    "tuple_type": "a list",
}


class _NumbersLoader(yaml.SafeLoader):
    """YAML 1.1 with the numbers of 1.2: `1e-3` and `-.1` are some, too."""


class _NumbersDumper(yaml.SafeDumper):
    """Puts quotes around strings that would be such numbers."""


for _kind in (_NumbersLoader, _NumbersDumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+([eE][-+]?[0-9]+)?|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+)$"),
        list("-+.0123456789"),
    )


def write_yaml(document: Settings, file: TextIO) -> None:
    """Writes settings as YAML from which `Source` reads them back."""
    yaml.dump(document, file, _NumbersDumper, sort_keys=False)


class SettingError(ValueError):
    """A setting that is wrong.

    Attributes:
        keys: the keys that lead to the setting, such as `("features", 2, "min_count")`.
    """

    def __init__(self, message: str, *keys: str | int) -> None:
        super().__init__(message)
        self.keys = keys


def check_settings(settings: Any) -> None:
    """Checks that the values of a dataclass are what the annotations of its fields say.

    An integer is taken for a float; nothing else is converted but lists to tuples.

    Raises:
        SettingError: for the first field that is wrong, naming it, what it takes and what it has.

    Example:

    >>> @dataclasses.dataclass
    ... class Run:
    ...     epochs: Count = 1
    ...     __post_init__ = check_settings
    >>> Run(epochs=0)
    Traceback (most recent call last):
    ctr_keras.settings.SettingError: epochs must be at least 1, got 0
    """
    for name, kind in fields_of(settings.__class__).types.items():
        value = checked(name, getattr(settings, name), kind)
        object.__setattr__(settings, name, value)  # the dataclass may be frozen


@dataclasses.dataclass(frozen=True)
class Fields:
    """What settings are taken.

    Args:
        types: dict. What a setting may be, by its name; those that must be given come first.
        required: tuple of str. The names of these. Defaults to `()`.
    """

    types: Mapping[str, Any]
    required: tuple[str, ...] = ()


def fields_of(kind: Any) -> Fields:
    """The settings that a dataclass takes."""
    return _fields_of(kind)


@functools.cache
def _fields_of(kind: Any) -> Fields:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    required = tuple(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    )
    return Fields({name: hints[name] for name in dict.fromkeys((*required, *names))}, required)


def checked(name: str, value: Any, kind: Any) -> Any:
    """A value that is of a type, or the SettingError that says what it must be."""
    try:
        return _adapter(kind).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        raise _as_setting_error(name, error) from None


@functools.cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return pydantic.TypeAdapter(kind, config=config)


def _as_setting_error(name: str, error: pydantic.ValidationError) -> SettingError:
    """Alternatives of a union are joined: an error each, whose `loc` ends with its type."""
    errors = error.errors(include_url=False)
    expected = " or ".join(dict.fromkeys(_expected(one) for one in errors))
    inside = errors[0]["loc"] if len(errors) == 1 else ()
    keys = (name, *(key for key in inside if key != "[key]"))
    where = "".join(f"[{key!r}]" for key in keys[1:])
    value = errors[0]["input"]
    said = str(value) if isinstance(value, datetime.date) else repr(value)
    return SettingError(
        f"{name}{where} must be {expected}, got {said}{_remedy(expected, value)}", *keys
    )


def _remedy(expected: str, value: Any) -> str:
    """What to do where YAML has made another type of what was meant."""
    is_other = isinstance(value, bool | int | float | datetime.date)
    return "; put it in quotes" if is_other and "a string" in expected.split(" or ") else ""


def _expected(error: Any) -> str:
    if error["type"] in _EXPECTED:
        return _EXPECTED[error["type"]].format(**error.get("ctx", {}))
    said = str(error["msg"]).removeprefix("Input should be ")
    said = said.removeprefix("Value error, ")  # of a check of ours, which says what is expected
    return said.replace("an instance of Sequence", "a list")


def did_you_mean(name: object, available: Iterable[object]) -> str:
    """The end of a message about an unknown name: the closest that is available, or else all.

    Example:

    >>> did_you_mean("autoit", ["FM", "AutoInt"])
    "; did you mean 'AutoInt'?"
    >>> did_you_mean("DCN", ["FM", "AutoInt"])
    '; available: FM, AutoInt'
    >>> did_you_mean("AutoInt+", ["AutoInt", "AutoIntPlus"])
    "; did you mean 'AutoIntPlus'?"
    """
    names = {_letters(known): str(known) for known in available}
    close = difflib.get_close_matches(_letters(name), names, n=1)
    if close:
        return f"; did you mean {names[close[0]]!r}?"
    return f"; available: {', '.join(names.values()) or 'none'}"


def _letters(name: object, plus: str = "plus") -> str:
    """A name as it is compared: papers write AutoInt+, OptInter-M and GBDT+LR."""
    return re.sub(r"[-_&\s]", "", str(name).lower().replace("+", plus))


def spelled(what: str, name: object, available: Iterable[str]) -> str:
    """The available name that is meant, in any case and as papers write it.

    Args:
        what: str. What it is a name of, for the message.
        name: object. What was given.
        available: list of str.

    Raises:
        ValueError: for an unknown name.

    Example:

    >>> models = ["AutoInt", "AutoIntPlus", "GBDTLR"]
    >>> [spelled("model", name, models) for name in ("autoint", "AutoInt+", "GBDT+LR")]
    ['AutoInt', 'AutoIntPlus', 'GBDTLR']
    """
    names = {_letters(known): known for known in available}
    for letters in (_letters(name), _letters(name, plus="")):
        if isinstance(name, str) and letters in names:
            return names[letters]
    raise ValueError(f"unknown {what} {name!r}{did_you_mean(name, names.values())}")


def find(what: str, name: object, available: Mapping[str, T]) -> T:
    """What stands under a name, as `spelled` reads it."""
    return available[spelled(what, name, available)]


@dataclasses.dataclass(frozen=True)
class Source:
    """Settings by name, and where each of them was written.

    Args:
        values: dict. The settings.
        path: str. The YAML file, if there is one. Defaults to `""`.
        node: yaml.Node or None. What the file holds. Defaults to `None`.
        elsewhere: dict. The places of settings that are not from the file. Defaults to none.
        base: tuple. The keys that lead to the settings in the file. Defaults to `()`.
        is_whole: bool. Whether the file is a run's own, which names all that the run had. Defaults
            to `False`.

    Example:

    >>> @dataclasses.dataclass
    ... class Run:
    ...     epochs: Count = 1
    ...     __post_init__ = check_settings
    >>> Source.read(overrides=["epochs=3"]).build(Run)
    Run(epochs=3)
    >>> Source.read(overrides=["epochs=big"]).build(Run)
    Traceback (most recent call last):
    ValueError: --set epochs=big: epochs must be an integer, got 'big'
    >>> Source.read(overrides=["epoch=3"]).build(Run)
    Traceback (most recent call last):
    ValueError: --set epoch=3: unknown setting 'epoch'; did you mean 'epochs'?
    """

    values: Mapping[str, Any]
    path: str = ""
    node: yaml.Node | None = None
    elsewhere: Mapping[str, str] = dataclasses.field(default_factory=dict)
    base: tuple[str | int, ...] = ()
    is_whole: bool = False

    @classmethod
    def read(
        cls,
        path: str | None = None,
        overrides: Iterable[str] = (),
        given: Settings | None = None,
        *,
        more_numbers: bool = True,
    ) -> Source:
        """Settings from a YAML file, changed by `given` and then by `key=value` strings, whose
        values are written as in YAML; a ValueError if the file or a string is anything else. With
        `more_numbers`, what YAML 1.2 takes for a number in a file is one, such as `1e-3`."""
        loader = _NumbersLoader if more_numbers else yaml.SafeLoader
        values, node = _read_yaml(path, loader) if path else ({}, None)
        is_whole = values.pop("versions", None) is not None  # as a run's own config.yaml has them
        values |= given or {}
        elsewhere = dict.fromkeys(given or (), "")
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise ValueError(f"--set {override}: expected key=value, got {override!r}")
            elsewhere[key] = f"--set {override}: "
            try:
                values[key] = yaml.load(value, _NumbersLoader)
            except yaml.YAMLError as error:
                raise ValueError(f"{elsewhere[key]}{_problem(error)}") from error
        return cls(values, path or "", node, elsewhere, is_whole=is_whole)

    def place(self, *keys: str | int) -> str:
        """Where the setting to which `keys` lead was written, or what it belongs to:
        `"run.yaml, line 3: "`."""
        keys = (*self.base, *keys)
        inner = keys[1:] if keys[:1] == ("model_args",) else ()
        if inner and (inner[0] in self.elsewhere or _line(self.node, inner)):
            keys = inner  # an argument of a model that stands among the settings
        if keys and keys[0] in self.elsewhere:
            return self.elsewhere[str(keys[0])]
        line = _line(self.node, keys)
        return f"{self.path}, line {line}: " if line else self.path and f"{self.path}: "

    @contextlib.contextmanager
    def located(self, *keys: str | int) -> Iterator[None]:
        """Puts the place of a setting in front of errors that are raised inside; the keys of a
        `SettingError` lead on from `keys`."""
        try:
            yield
        except ValueError as error:
            inside = error.keys if isinstance(error, SettingError) else ()
            raise ValueError(f"{self.place(*keys, *inside)}{error}") from error

    def at(self, *keys: str | int) -> Source:
        """The settings that stand below one of these; a ValueError if it has a value instead."""
        values: Any = self.values
        for key in keys:
            values = values[key]
        if not isinstance(values, Mapping):
            raise ValueError(f"{self.place(*keys)}expected keys and values, got {values!r}")
        return dataclasses.replace(self, values=values, base=(*self.base, *keys))

    def require(self, *names: str) -> None:
        """Raises a ValueError for those of these settings that are not given."""
        absent = [name for name in names if name not in self.values]
        empty = [name for name in names if self.values.get(name, "") is None]
        _refuse(
            [
                *(f"{self.place()}{name} is not given" for name in absent),
                *(f"{self.place(name)}{name} is empty" for name in empty),
            ]
        )

    def build(self, kind: Callable[..., T]) -> T:
        """An instance of a dataclass; a ValueError for unknown, missing or wrong settings, which
        says it of all of them."""
        wrong = self._wrong(fields_of(kind))
        if len(wrong) > 1:  # of a single one its dataclass says more
            _refuse(wrong)
        with self.located():
            return kind(**self.values)

    def check(self, fields: Fields) -> None:
        """Raises a ValueError for unknown, missing or wrong settings, which says it of all of
        them, where there is no dataclass to build yet."""
        _refuse(self._wrong(fields))

    def build_one_of(self, key: str, kinds: Mapping[str, Callable[..., T]], what: str = "") -> T:
        """An instance of the dataclass that the setting `key` names, from the other settings.
        Messages call the setting `what`, or by its key."""
        self.require(key)
        with self.located(key):
            kind = find(what or key, self.values[key], kinds)
        others = {other: value for other, value in self.values.items() if other != key}
        return dataclasses.replace(self, values=others).build(kind)

    def with_preset(self, find: Callable[[str], Settings], default: str | None = None) -> Source:
        """These settings over those of the preset that the setting `preset` names, or `default`.

        There is none where `preset` is null, and no default next to a run's own file.
        """
        name = self.values.get("preset", None if self.is_whole else default)
        values = {key: value for key, value in self.values.items() if key != "preset"}
        if name is None:
            return dataclasses.replace(self, values=values)
        with self.located("preset"):
            preset = find(name)
        preset = {key: value for key, value in preset.items() if key not in self._model_args()}
        return dataclasses.replace(self, values={**preset, **values})

    def with_model_args(self, fields: Fields, arguments: Iterable[str]) -> Source:
        """Moves settings that are none of these fields, but arguments of a model, to `model_args`;
        a ValueError for one that is neither."""
        own = fields.types
        self._check_known((*own, *arguments))
        values = {key: value for key, value in self.values.items() if key in own}
        moved = {key: value for key, value in self.values.items() if key not in own}
        if moved:
            values["model_args"] = {**self._model_args(), **moved}
        return dataclasses.replace(self, values=values)

    def _model_args(self) -> Settings:
        return self.at("model_args").values if "model_args" in self.values else {}

    def _check_known(self, known: Iterable[str]) -> None:
        known = tuple(known)
        problems: dict[str, str] = {}  # by hint, of which all that is available is one
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known)
                said = f"{self.place(key)}unknown setting {key!r}"
                problems[hint] = f"{problems[hint]}; {said}" if hint in problems else said
        _refuse(f"{said}{hint}" for hint, said in problems.items())

    def _wrong(self, fields: Fields) -> list[str]:
        """What is wrong with values, where all that must be is given and nothing else."""
        self._check_known(fields.types)
        self.require(*fields.required)
        wrong = []
        for name, value in self.values.items():
            try:
                checked(name, value, fields.types[name])
            except SettingError as error:
                wrong.append(f"{self.place(*error.keys)}{error}")
        return wrong


def all_of(makers: Iterable[Callable[[], T]]) -> list[T]:
    """What some functions return, or a ValueError with what all that fail say.

    Example:

    >>> all_of([lambda: 1, lambda: float("a"), lambda: float("b")])
    Traceback (most recent call last):
    ValueError: could not convert string to float: 'a'; could not convert string to float: 'b'
    """
    made, wrong = [], []
    for make in makers:
        try:
            made.append(make())
        except ValueError as error:
            wrong.append(str(error))
    _refuse(wrong)
    return made


def _refuse(problems: Iterable[str]) -> None:
    """Raises a ValueError that names all problems, if there are any."""
    if said := "; ".join(problems):
        raise ValueError(said)


def _read_yaml(path: str, kind: type[yaml.SafeLoader]) -> tuple[dict[str, Any], yaml.Node | None]:
    with open(path, encoding="utf-8") as file:
        try:
            loader = kind(file)
            node = loader.get_single_node()
            values = {} if node is None else loader.construct_document(node)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else path
            raise ValueError(f"{place}: {_problem(error)}") from error
    _check_once(path, node)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected keys and values, got {values!r}")
    return values, node


def _check_once(path: str, node: yaml.Node | None) -> None:
    """Checks that no key stands twice among others, of which YAML would keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_once(path, item)
    if isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                first = lines[key.value]
                raise ValueError(
                    f"{path}, line {line}: {key.value} is given twice, in line {first} too"
                )
            lines[key.value] = line
            _check_once(path, value)


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong with YAML, in one line."""
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    start, mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    if start is None or mark is None or start.line == mark.line:
        return problem
    return f"{problem}, in what begins in line {start.line + 1}"


def _line(node: yaml.Node | None, keys: Iterable[str | int]) -> int | None:
    """The line of the last of `keys` that a YAML file has."""
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            entries = {name.value: (name, value) for name, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            entries = {index: (item, item) for index, item in enumerate(node.value)}
        else:
            break
        if key not in entries:
            break
        start, node = entries[key]
        line = start.start_mark.line + 1
    return line


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass as the dict that YAML gives back."""
    values = yaml.safe_load(yaml.safe_dump(dataclasses.asdict(settings)))
    return {name: values[name] for name in fields_of(type(settings)).types}
