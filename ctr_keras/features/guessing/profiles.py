"""What a column holds: numbers, times, lists, categories; and how much of it."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features.guessing.names import IDS, NUMBERS, TIMES, words
from ctr_keras.features.times import Time, read_time
from ctr_keras.features.weights import WEIGHT
from ctr_keras.types import Array

Kind: TypeAlias = Literal["number", "category", "time", "list", "text"]

MISSING = ("NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None", "\\N", "?", "-", "--")
_AMBIGUOUS = ("None", "-", "--")  # missing only among numbers and times
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_NUMBER = f"^{NUMBER}$"
_INFINITE = r"(?i)^[+-]?inf(inity)?$"  # of numbers alone, and missing among them
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
# 3,215 or 992: whether a comma is between thousands or decimals, such values do not say.
_GROUPED = r"^[+-]?([1-9]\d{0,2}(,\d{3})+|\d{1,3})(\.\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}((,\d{3})*\.\d+|(,\d{3}){2,})$"  # those of _GROUPED that do
_SIGN = "([$€£¥₹%]|EUR|USD|GBP)"
_SIGNED = rf"^{_SIGN}\s*[+-]?\d[\d.,]*$|^[+-]?\d[\d.,]*\s*{_SIGN}$"
_UNREAD_TIME = r"^(?P<first>\d{1,2})[./-](?P<second>\d{1,2})[./-](?P<year>\d{4})"
_MONTHS = 12
_SEPARATORS = ("|", ";", ",", "^", " ")
_WEIGHT_SEPARATORS = (":", "=")
_TIMES_READ = 1000  # values of a column of times, as far as they are looked at
_MANY_EPOCHS = 100  # digits that are all times by chance
_STRANGE = 0.01  # of the values may be none among numbers or times; as many rows may be rejected
_YEARS = range(8 * 10**8, 21 * 10**8)  # 1995 to 2036, in seconds
_FEW = 12  # distinct integers that are rather categories
_SMOOTH = 0.82  # correlation of neighbouring integers' counts in numbers that measure
_SOMEWHAT_SMOOTH = 0.5  # of some ids, too, that were given in the order of first visits
_LONG_TEXT = 60  # characters


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a sample shows of a column.

    Attributes:
        name: str.
        strings: (rows,) Arrow array; lists joined by `separator`; null where missing.
        kind: str. What its values are.
        separator: str. Of lists.
        weight_separator: str. Of values and their weights in lists that have them.
        missing: tuple of str. Strings that mean a missing value.
        decimal_comma: bool. Whether numbers have one.
        words: tuple of str. The few values among numbers that are none; they count as missing.
        word_rows: int. How many rows have them.
    """

    name: str
    strings: pa.Array
    kind: Kind
    separator: str = ""
    weight_separator: str = ""
    missing: tuple[str, ...] = ()
    decimal_comma: bool = False
    words: tuple[str, ...] = ()
    word_rows: int = 0

    @functools.cached_property
    def _coded(self) -> tuple[pa.Array, Array, Array]:
        """Distinct values by falling count, their counts, and each row's code (-1 for missing)."""
        encoded = self.strings.dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, -1))
        counts = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary))
        order = np.argsort(-counts, kind="stable")
        place = np.append(np.argsort(order), -1)
        return encoded.dictionary.take(pa.array(order)), counts[order], place[codes]

    @property
    def values(self) -> list[str]:
        """The distinct values, the most frequent first."""
        return list(self._coded[0].to_pylist())

    @property
    def counts(self) -> Array:
        """How often each of `values` is there."""
        return self._coded[1]

    @property
    def codes(self) -> Array:
        """(rows,) the place in `values` of each row's value, -1 for none."""
        return self._coded[2]

    @property
    def distinct(self) -> int:
        """The number of distinct values."""
        return len(self.counts)

    @property
    def present(self) -> int:
        """The number of rows with a value."""
        return int(self.counts.sum())

    @property
    def missing_share(self) -> float:
        """The share of rows without a value."""
        return 1 - self.present / len(self.strings)

    @property
    def is_unique(self) -> bool:
        """Whether it tells rows apart rather than describing them."""
        return self.distinct > 0.98 * self.present and self.present > 50

    @property
    def is_bracketed(self) -> bool:
        """Whether values are lists as programs print them, which the pipeline does not read."""
        return _all_match(self._coded[0], r"^(\[.*\]|\(.*\)|\{.*\})$")

    @property
    def unread_time(self) -> str:
        """Why times cannot be read, if the values are such; else nothing."""
        return "" if self.kind == "time" else _unread_time(self._coded[0])

    @property
    def unread_number(self) -> str:
        """Why numbers cannot be read, if the values are such; else nothing."""
        return _unread_number(self._coded[0])

    @property
    def is_whole_float(self) -> bool:
        """Whether values are integers that some program has written as floats."""
        return _all_match(self._coded[0], r"^[+-]?\d+\.0$")

    @property
    def names_ids(self) -> bool:
        """Whether its name says so, or zeros do, with which a number does not begin."""
        begin = (re.match(r"0\d", value) for value in self.values[:1000])
        return bool(words(self.name) & IDS) or any(begin)

    @property
    def may_measure(self) -> bool:
        """Whether categories look as if they might be numbers that count or measure something."""
        numbers = self.numbers()
        if self.kind != "category" or self.distinct <= _FEW or np.isnan(numbers).any():
            return False
        return _smoothness(numbers, self.counts) > _SOMEWHAT_SMOOTH

    def has(self, value: str) -> bool:
        """Whether a value is there."""
        return bool(pc.index(self._coded[0], value).as_py() >= 0)

    def numbers(self) -> Array:
        """(distinct,) the values as float64, NaN where they are none."""
        return _as_numbers(self._coded[0], self.decimal_comma)

    @functools.cached_property
    def _times(self) -> list[Time | None]:
        return [read_time(value) for value in self.values]

    @property
    def unread_share(self) -> float:
        """The share of the rows of a column of times whose value is none."""
        is_unread = np.array([time is None for time in self._times])
        return float(self.counts[is_unread].sum() / len(self.strings))

    @functools.cached_property
    def seconds(self) -> Array:
        """(distinct,) the values of a column of times, since 1970 on their clock.

        A few that are no times, or of no year that a log is of, count as the most frequent time:
        one of them would be the first day of the log, and make it decades long.
        """
        read = [time.seconds if time and time.seconds in _YEARS else None for time in self._times]
        usual = next(second for second in read if second is not None)
        return np.array([usual if second is None else second for second in read], np.int64)


def profile(name: str, column: pa.Array) -> Profile:
    """What a column of strings, or of lists of strings, holds."""
    if pa.types.is_list(column.type):
        separator = _unused_separator(column)
        joined = pc.binary_join(column, separator)
        of_weight = _weight_separator(column.flatten().drop_null())
        present = pc.if_else(pc.equal(joined, ""), None, joined)
        return Profile(name, present, "list", separator, of_weight)
    counted = column.drop_null().value_counts()
    values, rows = counted.field("values"), np.asarray(counted.field("counts"))
    spelled = [word for word in MISSING if pc.index(values, word).as_py() >= 0]
    is_there = pc.invert(pc.is_in(values, pa.array(MISSING)))
    values, rows = values.filter(is_there), rows[np.asarray(is_there)]
    if len(values) and _is_time(name, values):
        return Profile(name, _without(column, spelled), "time", missing=tuple(spelled))
    if _unread_number(values):
        return Profile(name, _without(column, spelled), "category", missing=tuple(spelled))
    if number := _number(name, column, spelled, values, rows):
        return number
    missing = tuple(word for word in spelled if word not in _AMBIGUOUS)
    found = Profile(name, _without(column, missing), "category", missing=missing)
    separator, of_weight = _list_separators(found)
    if separator:
        return dataclasses.replace(
            found, kind="list", separator=separator, weight_separator=of_weight
        )
    return dataclasses.replace(found, kind="text" if _is_text(found) else "category")


def _without(column: pa.Array, words: Sequence[str]) -> pa.Array:
    return pc.if_else(pc.is_in(column, pa.array(words, pa.string())), None, column)


def _number(
    name: str, column: pa.Array, spelled: Sequence[str], values: pa.Array, rows: Array
) -> Profile | None:
    """The profile of a column of numbers, a few of which may be words if they measure; None of any
    other column."""
    is_word = ~_matches(values, f"({_DECIMAL_COMMA})|({_NUMBER})")
    word_rows = int(rows[is_word].sum())
    strange_rows = rows[is_word & ~_matches(values, _INFINITE)].sum()
    if is_word.all() or strange_rows > _STRANGE * rows.sum():
        return None
    words = tuple(values.filter(pa.array(is_word)).to_pylist())
    decimal_comma = not _all_match(values.filter(pa.array(~is_word)), _NUMBER)
    missing = (*spelled, *words)
    kept = _without(column, missing)
    found = Profile(name, kept, "number", "", "", missing, decimal_comma, words, word_rows)
    if _measures(found):
        return found
    return None if words else dataclasses.replace(found, kind="category")


def _unread_number(values: pa.Array) -> str:
    """Why numbers cannot be read, if nearly all values are such; else nothing.

    Example:

    >>> _unread_number(pa.array(["3,215", "992"]))
    'numbers that may be read in two ways, such as 3,215: write 3215 or 3.215'
    >>> _unread_number(pa.array(["3,215", "992.50"]))
    'numbers with a comma between thousands, such as 3,215: write 3215'
    >>> _unread_number(pa.array(["$3.20", "0.5 EUR"]))
    'numbers with a sign, such as $3.20: write them without'
    """
    if not len(values):
        return ""
    if _nearly_all_match(values, _GROUPED):
        thousands = values.filter(pc.match_substring_regex(values, r"^[+-]?\d{1,2},"))
        if len(thousands):
            one = thousands[0].as_py()
            whole = one.replace(",", "")
            if pc.any(pc.match_substring_regex(values, _THOUSANDS)).as_py():
                return f"numbers with a comma between thousands, such as {one}: write {whole}"
            readings = f"{whole} or {one.replace(',', '.', 1)}"
            return f"numbers that may be read in two ways, such as {one}: write {readings}"
    if _nearly_all_match(values, _SIGNED):
        return f"numbers with a sign, such as {values[0].as_py()}: write them without"
    return ""


def _unread_time(values: pa.Array) -> str:
    """Why times cannot be read, if all values are such; else nothing.

    Example:

    >>> _unread_time(pa.array(["03/04/2024 10:00", "03/25/2024 11:00"]))
    'times with the month first, such as 03/25/2024 11:00: write the day as 2024-03-25'
    >>> _unread_time(pa.array(["25.3.2024"]))
    'times with the day first, such as 25.3.2024: write the day as 2024-03-25'
    >>> _unread_time(pa.array(["03/04/2024"]))
    'times that may be read in two ways, such as 03/04/2024: write 2024-04-03 or 2024-03-04'
    """
    if not _all_match(values, rf"{_UNREAD_TIME}\b"):
        return ""
    parts = pc.extract_regex(values, _UNREAD_TIME)
    first, second, year = (pc.struct_field(parts, i).cast(pa.int32()).to_numpy() for i in range(3))
    is_day, is_month = first > _MONTHS, second > _MONTHS  # what comes first can be nothing else
    place = int(np.argmax(is_day | is_month))  # 0 if both may be either
    one, day, month = values[place].as_py(), first[place], second[place]
    day_first = f"{year[place]}-{month:02d}-{day:02d}"
    month_first = f"{year[place]}-{day:02d}-{month:02d}"
    if is_day.any() and is_month.any():
        return "days and months in either order: write them as 2024-01-31 12:00:00"
    if is_day.any():
        return f"times with the day first, such as {one}: write the day as {day_first}"
    if is_month.any():
        return f"times with the month first, such as {one}: write the day as {month_first}"
    readings = f"{day_first} or {month_first}"
    return f"times that may be read in two ways, such as {one}: write {readings}"


def _matches(values: pa.Array, pattern: str) -> Array:
    return np.asarray(pc.match_substring_regex(values, pattern), bool)


def _all_match(values: pa.Array, pattern: str) -> bool:
    return len(values) > 0 and bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _nearly_all_match(values: pa.Array, pattern: str) -> bool:
    matches = pc.match_substring_regex(values, pattern).cast(pa.int8())
    return bool(pc.mean(matches).as_py() >= 1 - _STRANGE)


def _is_time(name: str, values: pa.Array) -> bool:
    """Whether nearly all values are times; if they are digits, which may be anything else, the name
    has to say so, or there have to be many."""
    is_clear = words(name) & TIMES or not _nearly_all_match(values, r"^\d{8,19}(\.\d+)?$")
    if not is_clear and (_nearly_all_match(values, r"^\d{8}$") or len(values) < _MANY_EPOCHS):
        return False
    places = np.linspace(0, len(values) - 1, min(len(values), _TIMES_READ)).astype(int)
    times = map(read_time, values.take(pa.array(places)).to_pylist())
    is_usual = [time is not None and time.seconds in _YEARS for time in times]
    return bool(np.mean(is_usual) >= 1 - _STRANGE)


def _as_numbers(values: pa.Array, decimal_comma: bool = False) -> Array:
    if decimal_comma:
        values = pc.replace_substring(values, ",", ".")
    values = pc.if_else(pc.match_substring_regex(values, _NUMBER), values, None)
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _measures(found: Profile) -> bool:
    """Whether numbers measure or count something, and are no names of categories.

    Neighbours among what is measured are about as frequent as each other; ids are not.
    """
    numbers = found.numbers()
    if found.decimal_comma or (numbers != np.floor(numbers)).any():
        return True
    if found.names_ids or found.distinct <= _FEW:
        return False
    has_negatives = (numbers < -1).mean() > _STRANGE  # of ids -1 alone, for a missing one
    if words(found.name) & NUMBERS or has_negatives:
        return True
    return _smoothness(numbers, found.counts) > _SMOOTH


def _smoothness(numbers: Array, counts: Array) -> float:
    """The correlation of the counts of neighbouring integers (logarithms), over the frequent ones.

    Example:

    >>> counted = np.array([90, 70, 60, 40, 30, 20, 10])
    >>> bool(_smoothness(np.arange(7.0), counted) > 0.8)
    True
    >>> bool(_smoothness(np.array([3.0, 0, 5, 2, 6, 1, 4]), counted) < 0.5)
    True
    """
    frequent = counts >= 5
    if frequent.sum() < 6:
        return 0.0
    order = np.argsort(numbers[frequent])
    logarithms = np.log(counts[frequent][order])
    if np.ptp(logarithms) == 0:
        return 0.0
    return float(np.corrcoef(logarithms[:-1], logarithms[1:])[0, 1])


def _list_separators(found: Profile) -> tuple[str, str]:
    """What separates the values of a list, and these from their weights: it makes far fewer values
    of many."""
    values = found._coded[0].slice(0, 5000)
    for separator in _SEPARATORS:
        has = pc.match_substring(values, separator)
        if len(values) < 10 or pc.sum(has).as_py() * 3 < len(values):
            continue
        parts = pc.split_pattern(values, separator).flatten()
        of_weight = _weight_separator(parts)
        items = pc.unique(_without_weights(parts, of_weight))
        per_value = len(parts) / len(values)
        # Every name of two words has a space: as a separator it must make much fewer values.
        saved = 4 if separator == " " else 2
        if len(items) * saved < len(values) * min(per_value, 2) and not _has_prose(items):
            return separator, of_weight
    return "", ""


def _weight_separator(items: pa.Array) -> str:
    """What separates the values of lists from their weights, if nearly all have one; values of
    digits, as in 12:30, need decimals in some weights."""
    items = items.filter(pc.not_equal(items, ""))
    for separator in _WEIGHT_SEPARATORS:
        has_decimals = pc.any(pc.match_substring_regex(items, rf"{separator}\d*\.\d+$")).as_py()
        value = "." if has_decimals else f"[^0-9{separator}].*"
        if len(items) and _nearly_all_match(items, f"{value}{separator}{WEIGHT}$"):
            return separator
    return ""


def _without_weights(items: pa.Array, separator: str) -> pa.Array:
    if not separator:
        return items
    return pc.replace_substring_regex(items, f"{separator}{WEIGHT}$", "")


def _has_prose(items: pa.Array) -> bool:
    """Whether words end with a mark, as those of sentences do."""
    ends = pc.match_substring_regex(items, r"[a-z][.,:!?]$")
    return bool(pc.mean(ends.cast(pa.int8())).as_py() > 0.01)


def _unused_separator(column: pa.Array) -> str:
    items = pc.unique(column.flatten().drop_null())
    for separator in _SEPARATORS:
        if not pc.any(pc.match_substring(items, separator)).as_py():
            return separator
    return _SEPARATORS[0]


def _is_text(found: Profile) -> bool:
    lengths = pc.utf8_length(found._coded[0])
    return bool(found.is_unique and (pc.mean(lengths).as_py() or 0) > _LONG_TEXT)
