"""JSON text as RapidJSON reads it, which is what TensorFlow Serving's REST API is made of.

It differs from Python's `json` in what matters to a server: nesting may be of any depth (what lies
too deep for a tensor is forgotten), the first of two equal keys counts, `Inf` and `-NaN` are
numbers, 1e400 is an error, whatever follows the document is ignored, and bytes that are not UTF-8
pass through strings unchanged (as surrogate escapes).

Python's own parser, written in C, does the work wherever the two agree. What it refuses, and the
few texts it would read otherwise, go to the slower `_Reader` here, which also words the errors, and
gives up where that would take long.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable
from typing import TypeAlias

from serving.types import Json

Container: TypeAlias = list[Json] | dict[str | None, Json]

_HALF_PAIR = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
)
_BLANKS = re.compile(r"[ \n\r\t]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]*)?")
_NOT_FINITE = re.compile(r"-?(?:NaN|Inf(?:inity)?(?!i))")
_MAX_DEPTH = 1000  # beyond any tensor's
_MAX_STEPS = 50_000  # values and escapes that are read slowly: a tenth of a second
_STRING = r'"(?:[^"\\]|\\.)*"'
_SKIPPED = re.compile(
    rf'[\[ \n\r\t]+|[\]}}]+|\{{(?: *{_STRING} *:)?|{_STRING}|[^\[\]{{}}"]+', re.DOTALL
)
_WORDS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")


class JsonError(ValueError):
    """Not JSON; the message ends with the offset, in bytes, of the fault."""


def loads(body: bytes) -> Json:
    """Parses a document; a JsonError has RapidJSON's words.

    Example:

    >>> loads(b'{"a": [1, NaN], "a": 2} and more')
    {'a': [1, nan]}
    """
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if "\\u" not in text or not _HALF_PAIR.search(text):
        try:
            return _DECODER.raw_decode(text, _end(_BLANKS, text, 0))[0]
        except (ValueError, RecursionError):
            pass  # the reader below knows whether, and how, to complain
    return _Reader(text).document()


def dumps(value: Json, limit: int = 256) -> str:
    """Writes a value that `loads` returned for an error message, cut to `limit` characters.

    Example:

    >>> dumps({"a": [1, "b", None]})
    '{"a": [1, "b", null]}'
    """
    parts, length, pending = [], 0, [value]
    while pending and length <= limit:
        part = pending.pop()
        if isinstance(part, _Raw):
            part = str(part)
        elif isinstance(part, (list, dict)):
            pending.extend(reversed(_opened(part, limit)))
            continue
        else:
            part = dump_scalar(part)
        parts.append(part)
        length += len(part)
    return "".join(parts)[:limit]


def dump_scalar(value: Json) -> str:
    """Writes a value that is neither a list nor an object.

    Not as ASCII only: TensorFlow Serving sends UTF-8 as it is.
    """
    return json.dumps(value, ensure_ascii=False)


class _Raw(str):
    """Punctuation among values that are still to be written."""


def _opened(value: Container, limit: int) -> list[Json]:
    """The parts of one list or object, so that writing it needs no recursion; `limit` at most."""
    if isinstance(value, list):
        return [_Raw("["), *_separated(([item] for item in value), limit), _Raw("]")]
    members = ([_Raw(dump_scalar(key) + ": "), item] for key, item in value.items())
    return [_Raw("{"), *_separated(members, limit), _Raw("}")]


def _separated(groups: Iterable[list[Json]], limit: int) -> list[Json]:
    parts: list[Json] = []
    for group in itertools.islice(groups, limit):
        parts += [_Raw(", "), *group] if parts else group
    return parts


def _first_wins(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        members = dict(reversed(pairs))
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("beyond a double")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_float=_finite)


class _Reader:
    """An iterative parser: the open lists and objects are on a stack of its own."""

    def __init__(self, text: str):
        self.text = text
        self.at = 0
        self._steps = 0

    def document(self) -> Json:
        if not self._next():
            raise self._error("The document is empty.")
        # The open containers, each with the key under which its next value goes.
        stack: list[tuple[Container, str | None]] = []
        while True:
            value = self._value()
            if isinstance(value, (list, dict)) and len(stack) > _MAX_DEPTH:
                self._skip()
            elif isinstance(value, (list, dict)) and not self._closes(value):
                stack.append((value, self._key() if isinstance(value, dict) else None))
                continue
            # The value is complete; so may be any number of the containers around it.
            while stack:
                container, key = stack.pop()
                if isinstance(container, dict):
                    container.setdefault(key, value)
                else:
                    container.append(value)
                if self._another(container):
                    key = self._key() if isinstance(container, dict) else None
                    stack.append((container, key))
                    break
                value = container
            if not stack:
                return value

    def _value(self) -> Json:
        """A scalar, or a list or dict that has just been opened."""
        self._step()
        char = self._next()
        if char == "[" or char == "{":
            self.at += 1
            return [] if char == "[" else {}
        if char == '"':
            return self._string()
        if char in _WORDS:
            return self._word(*_WORDS[char])
        return self._number()

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise self._error("The document is no plain JSON, and too long to be read otherwise.")

    def _skip(self) -> None:
        """Steps over the rest of a list or object that has just been opened."""
        depth = 1
        while depth > 0:
            match = _SKIPPED.match(self.text, self.at)
            if not match:
                raise self._error("Invalid value.")
            token = match[0]
            depth += token.count("[") if token[0] in "[ \n\r\t" else token[0] == "{"
            closed = min(depth, len(token)) if token[0] in "]}" else 0
            depth -= closed
            self.at = match.start() + closed if closed else match.end()

    def _closes(self, container: Container) -> bool:
        """Whether a container that has just been opened is empty."""
        if self._next() != _closing(container):
            return False
        self.at += 1
        return True

    def _another(self, container: Container) -> bool:
        """Steps over what follows an element: True for a comma, False for the end."""
        char = self._next()
        if char == "," or char == _closing(container):
            self.at += 1
            return char == ","
        if isinstance(container, dict):
            raise self._error("Missing a comma or } after an object member.")
        raise self._error("Missing a comma or ] after an array element.")

    def _key(self) -> str:
        if self._next() != '"':
            raise self._error("Missing a name for object member.")
        key = self._string()
        if self._next() != ":":
            raise self._error("Missing a colon after a name of object member.")
        self.at += 1
        return key

    def _word(self, word: str, value: bool | None) -> bool | None:
        for char in word:
            if self._peek() != char:
                raise self._error("Invalid value.")
            self.at += 1
        return value

    def _number(self) -> int | float:
        if match := _NOT_FINITE.match(self.text, self.at):
            self.at = match.end()
            return float(match[0])
        match = _NUMBER.match(self.text, self.at)
        if not match:
            raise self._error("Invalid value.")
        start, self.at = self.at, match.end()
        fraction, exponent = match.groups()
        if fraction == ".":
            raise self._error("Miss fraction part in number.")
        if exponent and not exponent[-1].isdigit():
            raise self._error("Miss exponent in number.")
        number = float(match[0])
        if math.isinf(number):
            self.at = start
            raise self._error("Number too big to be stored in double.")
        whole = fraction is None and exponent is None and -(2**63) <= number <= 2**64
        return int(match[0]) if whole else number

    def _string(self) -> str:
        self.at += 1
        parts = []
        while True:
            start, self.at = self.at, _end(_PLAIN, self.text, self.at)
            parts.append(self.text[start : self.at])
            char = self._peek()
            if char == '"':
                self.at += 1
                return "".join(parts)
            if char != "\\":
                ended = char in ("", "\0")
                raise self._error(
                    "Missing a closing quotation mark in string."
                    if ended
                    else "Invalid encoding in string."
                )
            parts.append(self._escape())

    def _escape(self) -> str:
        self._step()
        char = self.text[self.at + 1 : self.at + 2]
        if char in _ESCAPES:
            self.at += 2
            return _ESCAPES[char]
        if char != "u":
            raise self._error("Invalid escape character in string.")
        unit = self._code_unit(self.at)
        if not 0xD800 <= unit <= 0xDFFF:
            self.at += 6
            return chr(unit)
        low = 0
        if unit <= 0xDBFF and self.text.startswith("\\u", self.at + 6):
            low = self._code_unit(self.at + 6)
        if not 0xDC00 <= low <= 0xDFFF:
            raise self._error("The surrogate pair in string is invalid.")
        self.at += 12
        return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))

    def _code_unit(self, at: int) -> int:
        match = _HEX4.match(self.text, at + 2)
        if not match:
            raise self._error("Incorrect hex digit after \\u escape in string.")
        return int(match[0], 16)

    def _next(self) -> str:
        """Steps over blanks: the character there, or "" at the end."""
        self.at = _end(_BLANKS, self.text, self.at)
        return self._peek()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _error(self, reason: str) -> JsonError:
        offset = len(self.text[: self.at].encode("utf-8", "surrogateescape"))
        return JsonError(f"{reason} at offset: {offset}")


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the match that begins at `start` ends; there, if there is none."""
    match = pattern.match(text, start)
    return match.end() if match else start


def _closing(container: Container) -> str:
    return "}" if isinstance(container, dict) else "]"
