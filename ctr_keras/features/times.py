"""Times as logs spell them, and the parts of them that are categories.

What a spelling means is decided in this order:

- `YYYY-MM-DD` or `YYYY/MM/DD`, and behind it, after a space or `T`, `HH`, `HH:MM` or `HH:MM:SS`
  with or without a fraction; behind that `Z`, `UTC` or an offset such as `+02:00`.
- Of digits alone 8, 10, 12 or 14 that are `YYYYMMDD[HH[MM[SS]]]` of the years 1970 to 2099.
- Other 8 digits that are `YYMMDDHH` of the years 2000 to 2099. (So `20101112` is a day of 2010.)
- Any other number from 10^8 on is the time since 1970: in seconds below 10^11, milliseconds below
  10^14, microseconds below 10^17, else nanoseconds. (So 10 digits are seconds unless they are
  `YYYYMMDDHH`, as seconds are from 2032 on: spell those otherwise.)

Anything else is no time. A time without an offset is taken as it is written; one that has one, or
that counts from 1970, is read on the clock of a zone, by default UTC.

`pipeline.times` says the same with TensorFlow; tests hold both equal. Arithmetic is for integers,
arrays and tensors alike.
"""

import bisect
import datetime
import functools
import math
import re
import zoneinfo
from typing import Any, NamedTuple

from ctr_keras.settings import did_you_mean

# Patterns of whole values, for Python's `re` and RE2.
_MONTH_AND_DAY = r"(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_CLOCK = r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?"
ISO = (
    r"(\d{4})[-/](\d\d)[-/](\d\d)"
    r"(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)? ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?"
)
DIGITS = rf"\d{{4}}{_MONTH_AND_DAY}({_CLOCK})?"  # what ISO spells, without what is between
COMPACT = rf"(19[7-9]\d|20\d\d){_MONTH_AND_DAY}({_CLOCK})?"
SHORT = rf"\d\d{_MONTH_AND_DAY}([01]\d|2[0-3])"
EPOCH = r"\d{1,19}(\.\d*)?([eE]\+?\d\d?)?"

SPELL = "spell times as YYYY-MM-DD HH:MM:SS or as seconds since 1970"
EPOCHS = (1e8, 9.2e18)  # the first number that is one, and the first that is none
UNIT_LIMITS, UNITS = (1e11, 1e14, 1e17), (1.0, 1e3, 1e6, 1e9)  # of numbers, to a second
_DAY, _HOUR = 86400, 3600
_ZONE_DAYS = range(0, 47482)  # 1970 to 2099
_ISO, _DIGITS, _COMPACT, _SHORT, _EPOCH = (
    re.compile(pattern, re.ASCII) for pattern in (ISO, DIGITS, COMPACT, SHORT, EPOCH)
)


class Time(NamedTuple):
    """A time on a clock.

    Attributes:
        seconds: int. Since 1970 on that clock.
        has_hour: bool. Whether it is more than a date.
    """

    seconds: int
    has_hour: bool


def read_time(value: str, zone: str = "UTC") -> Time | None:
    """A time from its spelling, on the clock of a zone; `None` for what is none.

    Example:

    >>> read_time("1970-01-02T01:00:00.5+01:00"), read_time("1970-01-02"), read_time("soon")
    (Time(seconds=86400, has_hour=True), Time(seconds=86400, has_hour=False), None)
    """
    value = value.strip(" \t\n\r\v\f")
    digits, offset = _digits(value)
    if _DIGITS.fullmatch(digits):
        seconds = _clock_seconds(digits)
        if seconds is not None and offset:
            seconds = on_clock(seconds - _offset_seconds(offset), zone)
        return None if seconds is None else Time(seconds, len(digits) > len("YYYYMMDD"))
    number = float(value) if _EPOCH.fullmatch(value) else 0.0
    if not EPOCHS[0] <= number < EPOCHS[1]:
        return None
    unit = UNITS[bisect.bisect_right(UNIT_LIMITS, number)]
    return Time(on_clock(math.floor(number / unit), zone), True)


def _digits(value: str) -> tuple[str, str]:
    """A time as `YYYYMMDD[HH[MM[SS]]]`, and its offset; empty if it has none."""
    if iso := _ISO.fullmatch(value):
        *fields, offset = iso.groups("")
        return "".join(fields), offset
    if _COMPACT.fullmatch(value):
        return value, ""
    return (f"20{value}" if _SHORT.fullmatch(value) else ""), ""


def _clock_seconds(digits: str) -> int | None:
    padded = f"{digits}000000"
    year, month, day = int(padded[:4]), int(padded[4:6]), int(padded[6:8])
    hour, minute, second = (int(padded[at : at + 2]) for at in (8, 10, 12))
    days = days_of(year, month, day)
    if date_of(days)[2] != day:  # a 30th of February
        return None
    return int(_DAY * days + _HOUR * hour + 60 * minute + second)


def _offset_seconds(offset: str) -> int:
    digits = re.sub(r"\D", "", offset) + "0000"
    seconds = _HOUR * int(digits[:2]) + 60 * int(digits[2:4])
    return -seconds if offset.startswith("-") else seconds


# Days, in the calendar of years that begin in March.


def days_of(year: Any, month: Any, day: Any) -> Any:
    """Days from 1970 to a date."""
    is_before = (14 - month) // 12  # in January and February
    year, month = year - is_before, month + 12 * is_before - 3
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * month + 2) // 5 + day - 719469


def date_of(days: Any) -> tuple[Any, Any, Any]:
    """Year, month and day: the inverse of `days_of`."""
    days = days + 719468
    era, day = days // 146097, days % 146097  # of 400 years
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day = day - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    is_after = month // 10
    return 400 * era + year + is_after, month + 3 - 12 * is_after, day - (153 * month + 2) // 5 + 1


def part_of(part: str, seconds: Any) -> Any:
    """A part of a time: `"hour"`, `"day"` or `"month"`, `"weekday"` (1 is Monday), or `"week"` of
    the year as ISO 8601 counts them."""
    days = seconds // _DAY
    weekday = (days + 3) % 7 + 1
    if part == "hour":
        return seconds % _DAY // _HOUR
    if part == "weekday":
        return weekday
    if part == "week":
        thursday = days - weekday + 4
        return (thursday - days_of(date_of(thursday)[0], 1, 1)) // 7 + 1
    _, month, day = date_of(days)
    return {"month": month, "day": day}[part]


# Zones.


def check_zone(name: str) -> None:
    """Raises a ValueError for what is no zone of the IANA database."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        available = sorted(zoneinfo.available_timezones())
        hint = did_you_mean(name, available).partition("; available")[0]
        raise ValueError(f"unknown time zone {name!r}{hint}") from None


def on_clock(seconds: int, zone: str) -> int:
    """The seconds on the clock of a zone at a second of UTC."""
    changes, offsets = zone_offsets(zone)
    return seconds + offsets[bisect.bisect_right(changes, seconds)]


@functools.cache
def zone_offsets(zone: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seconds at which the offset of a zone changes, from 1970 to 2099, and its offsets before,
    between and after these."""
    if zone == "UTC":
        return (), (0,)
    info = zoneinfo.ZoneInfo(zone)

    def offset(second: int) -> int:
        then = datetime.datetime.fromtimestamp(second, info).utcoffset()
        return round(then.total_seconds()) if then else 0

    offsets = [offset(_DAY * day) for day in _ZONE_DAYS]
    days = [i for i in _ZONE_DAYS[1:] if offsets[i] != offsets[i - 1]]
    changes = [
        _DAY * (day - 1)
        + bisect.bisect_right(
            range(_DAY),
            False,
            key=lambda second: offset(_DAY * (day - 1) + second) != offsets[day - 1],
        )
        for day in days
    ]
    return tuple(changes), (offsets[0], *(offsets[day] for day in days))
