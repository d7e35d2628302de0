"""Frames to packed inputs: what is taken, what is refused and how it is named.

That ids and numbers are those of the pipeline is the matter of `tests/pipeline/test_packing.py`.
"""

import datetime
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)

NAN = float("nan")


def features(*declared) -> FeatureSet:
    return FeatureSet(*declared, label=Label("click"))


def ids(feature, values, then=None) -> list[int]:
    """The ids of values of one feature, fitted to them or to others."""
    fitted = features(feature).fit({feature.raw_column: values})
    return fitted.pack({feature.raw_column: values if then is None else then})["categorical"][
        :, 0
    ].tolist()


EVERYTHING = features(
    Crossed("user", "city"),
    Categorical("user", min_count=2),
    Categorical("city", hash_buckets=10),
    Numeric("age", scale="quantiles", buckets=2),
    Numeric("price", scale="min_max"),
    Numeric("height", scale="z_score"),
    MultiValued("tags", max_length=2),
    Sequence("history", vocabulary_of="user", max_length=3),
    Categorical("hour", column="time", time_part="hour"),
)
FRAME = {
    "user": ["u", "u", "v", ""],
    "city": ["a", None, "a", "b"],
    "age": [20, 30, NAN, 40],
    "price": [1.0, 3.0, 2.0, NAN],
    "height": [1.0, 3.0, NAN, 2.0],
    "tags": ["x|y|z", "", "y", "y||x"],
    "history": ["", "u", "v u u u", "w"],
    "time": ["2024-02-29 13:05", "2024-02-29", "24022907", "x"],
    "click": [1, 0, 0, 1],
    "unused": [1, 2, 3, 4],
}


def test_all_kinds_of_features():
    fitted = EVERYTHING.fit(FRAME)
    assert fitted.vocabulary_sizes == {"user": 1, "tags": 2, "hour": 2, "user_x_city": 2}
    packed = fitted.pack(FRAME)
    assert {name: array.shape for name, array in packed.items()} == {
        name: (4, *shape) for name, shape in fitted.packed_shapes.items()
    }
    ranges = fitted.id_ranges
    np.testing.assert_array_equal(packed["categorical"][:, 0], [2, 2, 1, 0])
    assert packed["categorical"][0, 1] == packed["categorical"][2, 1] in ranges["city"]
    assert packed["categorical"][1, 1] == 0
    age, tags, hour, pair = (ranges[n].start for n in ("age", "tags", "hour", "user_x_city"))
    np.testing.assert_array_equal(packed["categorical"][:, 2], [age, age + 1, 0, age + 1])
    np.testing.assert_array_equal(packed["categorical"][:, 3], [hour + 1, 0, hour + 2, 0])
    np.testing.assert_allclose(packed["numeric"][:, 0], [0, 1, 0.5, 0])
    np.testing.assert_allclose(packed["numeric"][:, 1], np.sqrt(1.5) * np.array([-1, 1, 0, 0]))
    x, y = tags + 2, tags + 1  # y is in three rows, x in two; z is beyond the length
    np.testing.assert_array_equal(packed["tags"], [[x, y], [0, 0], [y, 0], [y, x]])
    np.testing.assert_array_equal(packed["history"], [[0, 0, 0], [2, 0, 0], [2, 2, 2], [1, 0, 0]])
    np.testing.assert_array_equal(packed["crossed"][:, 0], [pair + 1, 0, pair + 2, 0])
    assert packed["numeric"].dtype == np.float32
    assert {packed[name].dtype for name in packed if name != "numeric"} == {np.dtype(np.int32)}


def test_frames_of_all_libraries_are_taken_alike():
    fitted = EVERYTHING.fit(FRAME)
    frames = [
        {name: np.array(column) for name, column in FRAME.items() if None not in column}
        | {"city": np.array(FRAME["city"], object)},
        pd.DataFrame(FRAME),
        pd.DataFrame(FRAME).convert_dtypes().astype({"user": "category"}),
        pa.table(FRAME),
    ]
    for frame in frames:
        again = EVERYTHING.fit(frame)
        assert again == fitted
        assert again.statistics == fitted.statistics
        for name, array in fitted.pack(FRAME).items():
            np.testing.assert_array_equal(again.pack(frame)[name], array)


class Column:
    """What polars has of a column with nulls: integers would come out as floats."""

    def __init__(self, values):
        self._values = values

    def null_count(self):
        return self._values.count(None)

    def to_list(self):
        return self._values

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, np.float64)


@pytest.mark.parametrize(
    "column",
    [
        Column([2**60 + 1, None]),
        pa.array([2**60 + 1, None]),
        pd.Series([2**60 + 1, None], dtype="Int64"),
        pd.Series([2**60 + 1, None], dtype="int64[pyarrow]"),
    ],
)
def test_integers_with_nulls_stay_exact(column):
    fitted = features(Categorical("a")).fit({"a": column})
    assert fitted.statistics.values == {"a": [str(2**60 + 1)]}


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        ([3, -4], ["-4", "3"]),
        ([3.0, NAN, -4.0], ["-4", "3"]),
        (np.array([3, 4], np.uint8), ["3", "4"]),
        ([True, False], ["0", "1"]),
        ([2**70, "a", b"b", 1, np.int64(2), np.float32(5), np.True_], None),
        (["3", "3.0", "03"], ["03", "3", "3.0"]),
        (pd.Series(["x", pd.NA, None, ""]), ["x"]),
    ],
)
def test_spelling(values, spelled):
    fitted = features(Categorical("a")).fit({"a": values})
    expected = spelled or ["1", "1180591620717411303424", "2", "5", "a", "b"]
    assert sorted(fitted.statistics.values["a"]) == expected


def test_numbers_may_be_strings():
    fitted = features(Numeric("n")).fit({"n": ["1.5", "", "-2e1", None, b".5", True]})
    values = fitted.pack({"n": ["1.5", "", "-2e1", None, b".5", True]})["numeric"]
    np.testing.assert_array_equal(values[:, 0], [1.5, 0, -20, 0, 0.5, 1])


def test_one_word_for_a_list_of_words_is_refused():
    with pytest.raises(ValueError, match="missing must be a list of strings, got 'NA'"):
        FeatureSet(Categorical("site"), label=Label("click"), missing="NA")


def test_words_that_mean_a_missing_value_are_missing_as_prepare_has_them():
    features = FeatureSet(
        Categorical("site"),
        Numeric("price"),
        MultiValued("tags", max_length=2),
        label=Label("click"),
        missing=("?", "-1"),
    )
    columns = {"site": ["?", "a", "-1"], "price": ["?", "2", -1], "tags": ["?", "x|?", ["x"]]}
    fitted = features.fit(columns)
    assert fitted.statistics.values == {"site": ["a"], "tags": ["x", "?"]}
    packed = FeatureSet.from_dict(fitted.to_dict())._with(fitted.statistics).pack(columns)
    assert packed["categorical"][:, 0].astype(bool).tolist() == [False, True, False]
    assert packed["numeric"][:, 0].tolist() == [0, 2, 0]
    assert np.count_nonzero(packed["tags"], axis=1).tolist() == [0, 2, 1]


def test_numbers_that_are_not_finite_are_missing():
    fitted = features(Numeric("n")).fit({"n": [1.0]})
    for values in (["nan", "-Infinity", "INF"], [NAN, np.inf, -np.inf]):
        assert fitted.pack({"n": values})["numeric"].tolist() == [[0], [0], [0]]


def test_a_value_with_a_line_break_is_out_of_vocabulary():
    assert ids(Categorical("a"), ["two\nlines", "two\nlines", "plain"]) == [1, 1, 2]


def test_lists_may_be_lists():
    fitted = features(MultiValued("tags", separator=",", max_length=2)).fit({"tags": ["a,b", "a"]})
    cells = [["b", "a", "b"], ("a",), np.array([]), None, ["a", None], "b,b"]
    packed = fitted.pack({"tags": cells})["tags"]
    np.testing.assert_array_equal(packed, [[3, 2], [2, 0], [0, 0], [0, 0], [0, 0], [3, 3]])


def test_rows_online_are_packed_one_by_one_as_together():
    fitted = EVERYTHING.fit(FRAME)
    together = fitted.pack(FRAME)
    for row in range(4):
        alone = fitted.pack({name: column[row : row + 1] for name, column in FRAME.items()})
        for name, array in together.items():
            np.testing.assert_array_equal(alone[name], array[row : row + 1])
    empty = fitted.pack({name: [] for name in FRAME})
    assert {name: array.shape for name, array in empty.items()} == {
        name: (0, *shape) for name, shape in fitted.packed_shapes.items()
    }


def test_numbers_without_spread_or_values_are_zero():
    fitted = features(
        Numeric("c", scale="min_max"),
        Numeric("z", scale="z_score"),
        Numeric("m", scale="z_score"),
        Numeric("n", scale="min_max"),
    ).fit({"c": [7, 7], "z": [7, 7], "m": [NAN, None], "n": [NAN, None]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed = fitted.pack({"c": [7, 9], "z": [7, 9], "m": [NAN, 1], "n": [1, NAN]})["numeric"]
    np.testing.assert_array_equal(packed, np.zeros((2, 4)))


@pytest.mark.parametrize(
    "values", [[1, 0], [True, False], ["1", "0"], [1.0, 0.0], ["yes", "no"], [1, -1]]
)
def test_labels(values):
    labels = features(Numeric("n")).labels({"click": values})
    assert labels.dtype == np.float32
    assert labels.tolist() == [[1.0], [0.0]]


def test_a_fitted_set_is_saved_and_loaded(tmp_path):
    fitted = EVERYTHING.fit(FRAME)
    fitted.save_fitted(tmp_path / "fitted")
    loaded = FeatureSet.load_fitted(tmp_path / "fitted")
    assert loaded == fitted
    assert loaded.statistics == fitted.statistics
    assert FeatureSet.load(tmp_path / "fitted" / "features.json") == fitted


# What is refused.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": None}, "there is no column 'user'; did you mean 'users'?"),
        ({"user": ["u"]}, "columns must have the same length. Received: {'user': 1, 'city': 4"),
        ({"user": np.zeros((4, 2))}, r"column 'user' must be one-dimensional. Received: \(4, 2\)"),
        ({"user": [1.0, 2.5, 3.0, 1.0]}, "column 'user', row 1: 2.5 is not a category: a float"),
        (
            {"user": [1.0, 2.0, 1e16, 1.0]},
            "column 'user', row 2: 1e.16 is a long number as a float",
        ),
        ({"user": ["u", {}, "u", "u"]}, "column 'user', row 1: {} is a dict, not a string or an"),
        (
            {"user": ["u", ["v"], "u", "u"]},
            r"column 'user', row 1: \['v'\] is a list, not a string",
        ),
        ({"tags": [["u"], [0.5], [], []]}, r"column 'tags', row 1: \[0.5\] is not a category"),
        ({"user": np.float32([1, 2**24, 2, 3])}, "row 1: 16777216.0 is a long number as a float32"),
        ({"user": np.float16([1, 2, 2048, 3])}, "row 2: 2048.0 is a long number as a float16"),
        ({"user": [datetime.time(12)] * 4}, "row 0: .* is a time, not a string"),
        ({"price": [1, "many", 2, 3]}, "column 'price', row 1: 'many' is not a number"),
        ({"price": [1, [2], 2, 3]}, r"column 'price', row 1: \[2\] is not a number"),
        (
            {"price": [1, 2, 1e39, 3]},
            r"column 'price', row 2: 1e.39 is beyond 3.4e.38, the largest float32",
        ),
    ],
)
def test_bad_columns_are_named(change, message):
    frame = {**FRAME, **change}
    if frame["user"] is None:
        frame["users"] = frame.pop("user")
    for function in (EVERYTHING.fit, EVERYTHING.fit(FRAME).pack):
        with pytest.raises(ValueError, match=message) as error:
            function(frame)
        assert "\n" not in str(error.value)


def test_long_ids_that_a_short_float_holds_are_taken():
    fitted = features(Categorical("a")).fit({"a": np.float32([2**24 - 1])})
    assert fitted.statistics.values == {"a": [str(2**24 - 1)]}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_spelled_as_in_parquet(unit):
    times = pd.Series(
        pd.to_datetime(["2024-03-01 13:00:05", None, "2024-03-02 00:00:00"])
    ).dt.as_unit(unit)
    features = FeatureSet(
        Categorical("at"), Categorical("hour", column="at", time_part="hour"), label=Label("click")
    )
    spelled = pa.array(times).cast(pa.string())
    fitted = features.fit({"at": times})
    assert fitted.statistics.values == features.fit({"at": spelled}).statistics.values
    assert {*fitted.statistics.values["hour"]} == {"0", "13"}


ZONED = pd.Series(
    pd.DatetimeIndex(["2024-03-01 23:30:05", None, "2024-07-01 22:30"], tz="Europe/Berlin")
)


@pytest.mark.parametrize(
    "times",
    [
        ZONED,
        ZONED.dt.tz_convert("UTC"),
        ZONED.dt.as_unit("s"),
        ZONED.astype("timestamp[ms, tz=Europe/Berlin][pyarrow]"),
        ZONED.astype(object),
        pd.DatetimeIndex(ZONED),
        pa.chunked_array([pa.array(ZONED)]),
        [None if time is pd.NaT else time.to_pydatetime() for time in ZONED],
    ],
    ids=lambda times: type(times).__name__,
)
def test_times_with_a_zone_are_read_on_the_clock_of_the_feature(times):
    for zone, first, last in (("UTC", 22, 20), ("Europe/Berlin", 23, 22)):
        timed = features(Categorical("at", time_part="hour", zone=zone)).fit({"at": times})
        assert {*timed.statistics.values["at"]} == {str(first), str(last)}
        written = [f"2024-03-01 {first}", "", f"2024-07-01 {last}"]  # taken as they are
        packed, expected = (timed.pack({"at": at})["categorical"] for at in (times, written))
        np.testing.assert_array_equal(packed, expected)


@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("us"), pa.date32()])
def test_arrow_times_are_spelled_as_in_parquet(kind, zone):
    if zone and kind != pa.date32():
        kind = pa.timestamp(kind.unit, zone)
    days = pa.array([datetime.datetime(2024, 3, 1), None, datetime.datetime(2024, 3, 2)])
    times = days.cast(kind)
    fitted = features(Categorical("at")).fit({"at": times})
    assert fitted.statistics.values["at"] == times.cast(pa.string()).drop_null().to_pylist()
    alone = [value.as_py() for value in days.cast(pa.timestamp("us", zone))]
    fitted = features(Categorical("at")).fit({"at": alone})
    expected = days.cast(pa.timestamp("us", zone)).cast(pa.string()).drop_null().to_pylist()
    assert fitted.statistics.values["at"] == expected


@pytest.mark.parametrize(
    ("values", "part", "message"),
    [
        (["", "1/2/2024", "3/2/2024"], "day", "row 1: '1/2/2024' has no day, and no other row"),
        ([None, None, "2024-02-29"], "hour", "row 2: '2024-02-29' has no hour, and no other"),
    ],
)
def test_times_none_of_which_is_read_are_refused(values, part, message):
    timed = features(Categorical("at", time_part=part))
    with pytest.raises(ValueError, match=f"column 'at', {message} .* YYYY-MM-DD HH:MM:SS"):
        timed.fit({"at": values})
    assert timed.fit({"at": ["", None]}).vocabulary_sizes == {"at": 0}
    assert timed.fit({"at": [*values, "2024-02-29 13:05"]}).vocabulary_sizes["at"] > 0


def test_a_column_that_occurs_twice_is_refused():
    frame = pd.DataFrame([["a", "b"]], columns=["u", "u"])
    with pytest.raises(ValueError, match="column 'u' occurs 2 times"):
        features(Categorical("u")).fit(frame)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2, "2 is a label not 0 or 1"),
        (0.3, "0.3 is a label not 0 or 1"),
        ("maybe", "'maybe' is a label not 0 or 1"),
        (NAN, "nan is missing: a label must not be"),
        (None, "None is missing: a label must not be"),
        ("", "'' is missing: a label must not be"),
        ([1], r"\[1\] is a label not 0 or 1"),
    ],
)
def test_bad_labels_are_named(value, message):
    with pytest.raises(ValueError, match=f"column 'click', row 1: {message}"):
        EVERYTHING.labels({"click": [1, value]})


def test_a_label_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="there is no column 'click'; did you mean 'clicked'"):
        EVERYTHING.labels({"clicked": [1, 0]})


def test_a_set_that_is_not_fitted_does_not_pack():
    for features_ in (
        EVERYTHING,
        EVERYTHING.with_vocabulary_sizes(EVERYTHING.fit(FRAME).vocabulary_sizes),
    ):
        with pytest.raises(ValueError, match=r"not fitted: take what `fit\(frame\)` returns, or"):
            features_.pack(FRAME)


def test_nothing_and_no_frame_are_refused():
    with pytest.raises(ValueError, match="there is no row to fit on"):
        EVERYTHING.fit({name: [] for name in FRAME})
    with pytest.raises(TypeError, match=r"expected columns by name .*, got list"):
        EVERYTHING.fit([FRAME])


def test_folders_without_what_packing_needs_are_refused(tmp_path):
    fitted = EVERYTHING.fit(FRAME)
    fitted.save_fitted(tmp_path)
    (tmp_path / "numbers.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"numbers.json with .* age, price, height: .* again"
    ):
        FeatureSet.load_fitted(tmp_path)
    without = features(Categorical("user")).fit(FRAME)
    without.save_fitted(tmp_path / "earlier")
    (tmp_path / "earlier" / "numbers.json").unlink()
    assert FeatureSet.load_fitted(tmp_path / "earlier").statistics == without.statistics
    fitted.save_fitted(tmp_path)
    fitted.fit({**FRAME, "user": list("uuvv")}).save(tmp_path / "features.json")
    with pytest.raises(ValueError, match="is not the vocabulary file of these features"):
        FeatureSet.load_fitted(tmp_path)
    (tmp_path / "vocabulary").unlink()
    with pytest.raises(FileNotFoundError, match="holds no vocabularies"):
        FeatureSet.load_fitted(tmp_path)


def test_packing_imports_nothing_heavy():
    code = (
        "from ctr_keras.features import *; f = FeatureSet(Categorical('a'), label=Label('y'));"
        "f.fit({'a': ['x']}).pack({'a': ['y']}); import sys; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"keras", "tensorflow", "apache_beam", "pandas", "pyarrow"}
    assert not heavy & set(loaded.stdout.split())
