"""Times: every spelling, what is none, zones, parts."""

import datetime
import zoneinfo

import numpy as np
import pytest

from ctr_keras.features import Categorical
from ctr_keras.features.packing import time_part
from ctr_keras.features.times import Time, date_of, days_of, part_of, read_time, zone_offsets

NOON = int(datetime.datetime(2024, 5, 1, 12, 30, 15, tzinfo=datetime.UTC).timestamp())
HALF, HOUR, DATE = NOON - 15, NOON - 15 - 30 * 60, NOON - 12 * 3600 - 30 * 60 - 15


TIMES = [
    ("20240501123015", NOON),
    ("202405011230", HALF),
    ("2024050112", HOUR),
    ("20240501", DATE),
    ("24050112", HOUR),
    ("2024-05-01 12:30:15", NOON),
    ("2024-05-01T12:30:15.999999999", NOON),
    ("2024-05-01 12:30:15,5", NOON),
    ("2024-05-01 12:30", HALF),
    ("2024-05-01T12", HOUR),
    ("2024/05/01", DATE),
    (" 2024-05-01\n", DATE),
    ("2024-05-01T12:30:15Z", NOON),
    ("2024-05-01 12:30:15 UTC", NOON),
    ("2024-05-01 14:30:15.123+0200", NOON),
    ("2024-05-01T07:00:15-05:30", NOON),
    ("2024-05-01 14+02", HOUR),
    (str(NOON), NOON),
    (f"{NOON}.75", NOON),
    (f"{NOON}999", NOON),
    (f"{NOON}999999", NOON),
    (f"{NOON}999000000", NOON),
    (repr(NOON * 1e3), NOON),
    ("1.714566615e+12", NOON),
    ("1.714566615E9", NOON),
    ("978300760", 978300760),
]
AMBIGUOUS = [
    ("20101112", "2010-11-12"),  # not the 12th hour of 2020-10-11
    ("20102100", "2020-10-21"),  # there is no month 21
    ("14102923", "2014-10-29"),
    ("1910101000", "2030-07-12"),  # seconds: years begin with 1970
    ("2010101000", "2010-10-10"),  # not the seconds of 2033
]
NO_TIMES = [
    "",
    "x",
    "03/01/2024",
    "01-03-2024",
    "2024-13-01",
    "2024-02-30",
    "19691231",
    "2023-02-29",
    "2024-05-01 24",
    "2024-05-01 12:60",
    "12:30:15",
    "5",
    "-5",
    "99999999",
    "1e99",
    "nan",
    "2024-05-01Z",
    "2024",
    "99999999999999999999",
    "2024-05-01 12:30:15 CET",
    "٢٠٢٤٠٥٠١",
]


@pytest.mark.parametrize(("value", "seconds"), TIMES)
def test_every_spelling_is_read(value, seconds):
    time = read_time(value)
    assert time is not None
    assert time.seconds == seconds
    assert time.has_hour == (seconds != DATE)


@pytest.mark.parametrize(("value", "date"), AMBIGUOUS)
def test_what_is_ambiguous_is_decided_by_the_rule(value, date):
    time = read_time(value)
    assert time is not None
    assert date_of(time.seconds // 86400) == tuple(map(int, date.split("-")))


@pytest.mark.parametrize("value", NO_TIMES)
def test_anything_else_is_no_time(value):
    assert read_time(value) is None


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "UTC"])
def test_instants_are_read_on_the_clock_of_a_zone(zone):
    draw = np.random.default_rng(0)
    changes, _ = zone_offsets(zone)
    seconds = [*draw.integers(1e8, 4e9, 200).tolist(), *(c + s for c in changes for s in (-1, 0))]
    for second in seconds:
        if second >= 1e8:
            then = datetime.datetime.fromtimestamp(second, zoneinfo.ZoneInfo(zone))
            clock = then.replace(tzinfo=datetime.UTC).timestamp()
            assert read_time(str(float(second)), zone) == Time(clock, True)
            iso = then.isoformat(" ")
            assert read_time(iso, zone) == Time(clock, True)
    assert read_time("2024-05-01 12:30:15", zone) == Time(NOON, True)  # as it is written


def test_parts_are_those_of_the_standard_library():
    for days in range(-200_000, 200_000, 37):
        date = datetime.date(1970, 1, 1) + datetime.timedelta(days)
        assert date_of(days) == (date.year, date.month, date.day)
        assert days_of(date.year, date.month, date.day) == days
        expected = {"week": date.isocalendar().week, "weekday": date.isoweekday()}
        expected |= {"day": date.day, "month": date.month, "hour": 13}
        assert {part: part_of(part, 86400 * days + 13 * 3600) for part in expected} == expected


def test_a_date_has_no_hour():
    hour = Categorical("hour", time_part="hour")
    assert [time_part(v, hour) for v in ("2024-05-01", "2024-05-01 00:10")] == ["", "0"]


def test_zones_are_checked_where_they_are_declared():
    with pytest.raises(
        ValueError, match="unknown time zone 'Europe/Berln'; did you mean 'Europe/Be"
    ):
        Categorical("hour", time_part="hour", zone="Europe/Berln")
    for wrong in ("../etc/passwd", "", "Europe"):
        with pytest.raises(ValueError, match="unknown time zone"):
            Categorical("hour", time_part="hour", zone=wrong)
    with pytest.raises(ValueError, match="feature 'site': a zone goes with a time_part"):
        Categorical("site", zone="Europe/Berlin")
