"""Times in the transform graph: `ctr_keras.features.times` with TensorFlow."""

import tensorflow as tf

from ctr_keras.features import times

_OFFSET = r"\7"  # of ISO's groups
_FIELDS = r"\1\2\3\4\5\6"


def time_part(column: tf.Tensor, part: str, zone: str) -> tf.Tensor:
    """The part of each time as a string, `""` where there is none."""
    seconds, is_time, has_hour = read_times(column, zone)
    is_there = tf.logical_and(is_time, has_hour) if part == "hour" else is_time
    return tf.where(is_there, tf.strings.as_string(times.part_of(part, seconds)), "")


def read_times(column: tf.Tensor, zone: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each string the seconds since 1970 on the clock of a zone, whether it is a time, and
    whether that is more than a date."""
    value = tf.strings.strip(column)
    digits, offset = _digits(value)
    is_clock = tf.strings.regex_full_match(digits, times.DIGITS)
    has_hour = tf.logical_or(~is_clock, tf.strings.length(digits) > len("YYYYMMDD"))
    clock, is_date = _clock_seconds(tf.where(is_clock, digits, "19700101"))
    epoch, is_epoch = _epoch_seconds(tf.where(is_clock, "", value))
    utc = tf.where(is_clock, clock - _offset_seconds(offset), epoch)
    is_instant = tf.logical_or(offset != "", ~is_clock)
    seconds = tf.where(is_instant, _on_clock(utc, zone), clock)
    return seconds, tf.logical_or(tf.logical_and(is_clock, is_date), is_epoch), has_hour


def _digits(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Times as `YYYYMMDD[HH[MM[SS]]]`, and their offsets; empty where there is none."""
    is_iso = tf.strings.regex_full_match(value, times.ISO)
    is_compact = tf.strings.regex_full_match(value, times.COMPACT)
    is_short = tf.strings.regex_full_match(value, times.SHORT)
    whole = f"^{times.ISO}$"
    digits = tf.where(is_short, tf.strings.join(["20", value]), "")
    digits = tf.where(is_compact, value, digits)
    digits = tf.where(is_iso, tf.strings.regex_replace(value, whole, _FIELDS), digits)
    return digits, tf.where(is_iso, tf.strings.regex_replace(value, whole, _OFFSET), "")


def _clock_seconds(digits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The seconds of digits, and whether there is such a date."""
    padded = tf.strings.join([digits, "000000"])
    year, month, day, hour, minute, second = (
        _integers(padded, start, length)
        for start, length in ((0, 4), (4, 2), (6, 2), (8, 2), (10, 2), (12, 2))
    )
    days = times.days_of(year, month, day)
    return 86400 * days + 3600 * hour + 60 * minute + second, times.date_of(days)[2] == day


def _offset_seconds(offset: tf.Tensor) -> tf.Tensor:
    digits = tf.strings.join([tf.strings.regex_replace(offset, r"\D", ""), "0000"])
    seconds = 3600 * _integers(digits, 0, 2) + 60 * _integers(digits, 2, 2)
    return tf.where(tf.strings.regex_full_match(offset, "-.*"), -seconds, seconds)


def _integers(digits: tf.Tensor, start: int, length: int) -> tf.Tensor:
    return tf.strings.to_number(tf.strings.substr(digits, start, length), tf.int64)


def _epoch_seconds(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The seconds of numbers since 1970, and whether they are such."""
    is_number = tf.strings.regex_full_match(value, times.EPOCH)
    number = tf.strings.to_number(tf.where(is_number, value, "0"), tf.float64)
    is_epoch = tf.logical_and(number >= times.EPOCHS[0], number < times.EPOCHS[1])
    number = tf.where(is_epoch, number, 0.0)
    limits = tf.constant(times.UNIT_LIMITS, tf.float64)
    unit = tf.gather(
        tf.constant(times.UNITS, tf.float64), tf.searchsorted(limits, number, side="right")
    )
    return tf.cast(tf.floor(number / unit), tf.int64), is_epoch


def _on_clock(seconds: tf.Tensor, zone: str) -> tf.Tensor:
    changes, offsets = times.zone_offsets(zone)
    if not changes:
        return seconds + offsets[0]
    place = tf.searchsorted(tf.constant(changes, tf.int64), seconds, side="right")
    return seconds + tf.gather(tf.constant(offsets, tf.int64), place)
