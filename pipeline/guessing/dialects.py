"""How delimited text is written: its encoding, delimiter, quotes and header."""

import codecs
import csv
import dataclasses
import re
from collections import Counter

from ctr_keras.features.guessing.profiles import NUMBER

_DELIMITERS = (",", "\t", ";", "|", "::", " ")
_LINES = 1000  # that are looked at
_TABLE = 0.8  # of the lines have the same number of columns
_MAX_CELL = 2**20
_IS_NUMBER = re.compile(NUMBER)


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a file is written. `columns` are the names in its header, or ours without one."""

    delimiter: str
    quoted: bool
    header: bool
    columns: tuple[str, ...]


def guess_encoding(data: bytes) -> str:
    """The encoding of text, by its first bytes and by whether most of its lines beyond ASCII are
    UTF-8, which others hardly ever are by chance."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.end < len(data):  # not only the last character is cut
            lines = [line for line in data.split(b"\n") if not line.isascii()]
            valid = sum(_is_utf8(line) for line in lines)
            return "utf-8" if valid > len(lines) / 2 else "latin-1"
    return "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def guess_dialect(text: str) -> Dialect:
    """The dialect of the first lines of a file.

    Raises:
        ValueError: if there is one column, or no delimiter cuts most lines into the same number of
            columns; for a JSON array.

    Example:

    >>> guess_dialect("click;price\\n0;1,5\\n1;2,5\\n")
    Dialect(delimiter=';', quoted=False, header=True, columns=('click', 'price'))
    >>> guess_dialect("0\\t3\\n1\\t5\\n").columns
    ('c1', 'c2')
    """
    lines = [line for line in text.splitlines()[:_LINES] if line]
    if not lines:
        raise ValueError("there is no line")
    if re.match(r"\[\s*(\{|$)", lines[0]):
        raise ValueError("a JSON array: write one object a line, without brackets around them")
    if not any(delimiter in line for line in lines for delimiter in _DELIMITERS):
        raise ValueError(
            "there is a single column: a label needs features next to it, behind a comma, tab, "
            "semicolon, |, :: or space"
        )
    best: tuple[bool, float, int] = (False, 0.0, 0)
    chosen: tuple[str, bool, list[list[str]]] = (",", False, [])
    for delimiter in _DELIMITERS:
        # Quotes that no line closes may be around line breaks: if more rows are alike then.
        for quoted in (True,) if _has_quotes(lines, delimiter) else (False, True):
            rows = _rows(lines, delimiter, quoted)
            (width, count), *_ = Counter(map(len, rows)).most_common(1)
            # The first line tells most: it is the header, if there is one. Where two delimiters cut
            # nearly all alike, the one that cuts more often is right.
            share = count / len(rows)
            fits = len(rows[0]) == width and share >= _TABLE
            rank = (fits, round(min(share, 0.95), 1), width)
            if width > 1 and rank > best:
                best, chosen = rank, (delimiter, quoted, [row for row in rows if len(row) == width])
    _, share, width = best
    if share < _TABLE:
        raise ValueError(
            "this is no table: none of the delimiters comma, tab, semicolon, |, :: and space cuts "
            "most lines into the same number of columns"
        )
    delimiter, quoted, rows = chosen
    has_header = len(rows[0]) == width and _is_header(rows[0], rows[1:])
    names = rows[0] if has_header else [f"c{i + 1}" for i in range(width)]
    return Dialect(delimiter, quoted, has_header, tuple(name.strip() for name in names))


def _has_quotes(lines: list[str], delimiter: str) -> bool:
    """Whether values begin and end with double quotes."""
    quote = re.compile(rf'(^|{re.escape(delimiter)})"([^"]|"")*"($|{re.escape(delimiter)})')
    return any(quote.search(line) for line in lines if '"' in line)


def _rows(lines: list[str], delimiter: str, quoted: bool) -> list[list[str]]:
    if not quoted or len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    csv.field_size_limit(_MAX_CELL)
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _is_header(first: list[str], others: list[list[str]]) -> bool:
    """Names are all there, no numbers, and mostly no values of their columns; if two are the same,
    none is. The first or last column may have none: row numbers, or what is behind a delimiter at
    the end of lines."""
    names = [name.strip() for name in first]
    if "" in names[1:-1] or names.count("") > 1 or any(map(_IS_NUMBER.fullmatch, names)):
        return False
    columns = map(set, zip(*others, strict=True)) if others else [set[str]()] * len(first)
    values = sum(name in column for name, column in zip(first, columns, strict=True))
    is_unique = len(set(names)) == len(names)
    return values * 2 < len(names) if is_unique else not values
