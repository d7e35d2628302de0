"""Features from a look at a frame. What columns hold is tested with `pipeline.guessing`."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ctr_keras.features import FeatureSet, MultiValued, Numeric
from pipeline.guessing import guess

ROWS = 600


@pytest.fixture
def frame():
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"user": draw.integers(0, 40, ROWS), "row": range(ROWS)})
    frame["order"] = [f"o{number}" for number in frame.pop("row")]
    frame["item"] = pd.Categorical(draw.choice([*"abcdefgh"], ROWS))
    frame["price"] = np.where(draw.random(ROWS) < 0.1, np.nan, draw.gamma(2, 10, ROWS).round(2))
    frame["at"] = pd.date_range("2024-03-01", periods=ROWS, freq="97min")
    frame["tags"] = [[*draw.choice([*"xyz"], 2, replace=False)] for _ in range(ROWS)]
    frame["click"] = draw.random(ROWS) < 0.2
    frame["stars"] = draw.integers(1, 6, ROWS)
    return frame


@pytest.mark.filterwarnings("ignore:columns that are no features")
def test_a_frame_is_declared_fitted_and_packed(frame):
    features = FeatureSet.from_frame(frame, label="click").fit(frame)
    fields = ("user", "item", "price", "hour", "weekday", "stars", "tags")
    assert features.field_names == fields
    assert isinstance(features["price"], Numeric)
    assert isinstance(features["tags"], MultiValued)
    assert features.labels(frame).mean() == pytest.approx(frame["click"].mean())
    packed = features.pack(frame)
    assert packed["categorical"].shape == (ROWS, 6)
    assert packed["tags"].shape == (ROWS, 2)
    price = packed["categorical"][:, 2]
    assert ((price == 0) == frame["price"].isna()).all()


@pytest.mark.filterwarnings("ignore:columns that are no features")
def test_a_frame_is_declared_as_its_file_is(frame, tmp_path):
    frame.to_parquet(tmp_path / "log.parquet")
    assert FeatureSet.from_frame(frame, "click") == guess(str(tmp_path), "click").features


@pytest.mark.filterwarnings("ignore:columns that are no features")
def test_maps_of_numbers_are_values_with_weights(frame):
    weights = np.random.default_rng(0).random((ROWS, 2), np.float32)
    pairs = [[("x", first), ("y:z", second)] for first, second in weights]
    table = pa.Table.from_pandas(frame)
    kind = pa.map_(pa.string(), pa.float32())
    table = table.append_column("interests", pa.array(pairs, kind))
    features = FeatureSet.from_frame(table, label="click")
    assert features["interests"].weight_separator == ":"
    packed = features.fit(table).pack(table)
    np.testing.assert_array_equal(packed["interests_weights"], weights)


def test_what_is_left_out_is_said(frame):
    with pytest.warns(UserWarning, match="no features: order: another value in nearly every row$"):
        FeatureSet.from_frame(frame, label="click")


@pytest.mark.filterwarnings("ignore:columns that are no features")
def test_the_upper_half_of_ratings_is_positive(frame):
    features = FeatureSet.from_frame(frame, label="stars").fit(frame)
    assert (features.labels(frame)[:, 0] == (frame["stars"] > 3)).all()


def test_an_unknown_label_is_named(frame):
    with pytest.raises(ValueError, match="there is no column 'clik'; did you mean 'click'"):
        FeatureSet.from_frame(frame, label="clik")


def test_without_pyarrow_it_says_what_to_install(frame, monkeypatch):
    for module in ("pyarrow", "ctr_keras.features.guessing"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match="which `from_frame` needs: pip install pyarrow"):
        FeatureSet.from_frame(frame)
