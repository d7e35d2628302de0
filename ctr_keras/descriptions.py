"""What arguments mean, in a line each, as docstrings say it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_ENTRY = re.compile(r"    (?P<names>\w[\w, ]*): (?P<text>.*)")
_ELSEWHERE = re.compile(r"(?:\w+[.] )?(?:[Aa]s in|[Ss]ee) `(\w+)`")
_SENTENCE = re.compile(r"(?<=[.])\s+")


def setting_lines(
    settings: Mapping[str, Any], of: str, docstrings: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Settings as `name=default` with what each means, as they are shown to people.

    Args:
        settings: dict. The defaults by name.
        of, docstrings: as in `descriptions`.

    Example:

    >>> model = '''A model.
    ...
    ... Args:
    ...     deep: bool. Whether there is a tower. Defaults to `True`.
    ... '''
    >>> setting_lines({"deep": True}, "Model", {"Model": model})
    [('deep=true', 'Whether there is a tower')]
    """
    means = descriptions(of, docstrings)
    return [(f"{key}={_written(value)}", means.get(key, "")) for key, value in settings.items()]


def _written(value: Any) -> str:
    """A value as a setting takes it."""
    return json.dumps(value, default=list).strip('"')


def descriptions(of: str, docstrings: Mapping[str, str]) -> dict[str, str]:
    """What a docstring's `Args` say of each argument, in a sentence without its type.

    Args:
        of: str. The name of a class or a function.
        docstrings: dict. By name, also those to which others refer with "as in `NAME`".

    Example:

    >>> base = '''A base.
    ...
    ... Args:
    ...     dim: int. Width of an embedding. Defaults to `16`.
    ... '''
    >>> model = '''A model.
    ...
    ... Args:
    ...     dim: as in `Base`.
    ...     plan: Plan or path to one. Defaults to `None`.
    ... '''
    >>> descriptions("Model", {"Base": base, "Model": model})
    {'dim': 'Width of an embedding', 'plan': 'Plan or path to one'}
    """
    found = {}
    elsewhere = ""
    for name, text in _entries(docstrings[of]):
        reference = _ELSEWHERE.match(text)
        if reference:
            elsewhere = reference[1]
        if reference or text.startswith("likewise"):
            is_known = elsewhere in docstrings
            found[name] = descriptions(elsewhere, docstrings).get(name, "") if is_known else ""
        else:
            found[name] = _sentence(text)
    return found


def _entries(docstring: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the section `Args`."""
    _, _, rest = docstring.partition("\nArgs:\n")
    names, text = "", ""
    for line in rest.splitlines():
        if line and not line.startswith(" "):  # the next section
            break
        entry = _ENTRY.match(line)
        if entry:
            yield from ((name.strip(), text) for name in names.split(",") if names)
            names, text = entry["names"], entry["text"]
        else:
            text += f" {line.strip()}"
    yield from ((name.strip(), text) for name in names.split(",") if names)


def _sentence(text: str) -> str:
    """The sentence behind the one with the type, or the latter where there is none."""
    kind, *others = _SENTENCE.split(text.strip())
    says = [other for other in others if not other.startswith("Defaults to")]
    sentence = re.sub(r" \(see .*?\)", "", says[0] if says else kind).rstrip(".").replace("`", "")
    return sentence[:1].upper() + sentence[1:]
