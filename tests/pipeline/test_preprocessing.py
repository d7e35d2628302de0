"""The transform graph: raw rows in, exactly these packed inputs out."""

import datetime
import json
import pathlib
import tempfile

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)
from pipeline.batches import KEY, SPLIT, in_column_order, make_batch
from pipeline.block import Block
from pipeline.job import adapter_config
from pipeline.parsing.weights import check_weights
from pipeline.preprocessing import _weights, make_preprocessing_fn
from pipeline.vocabulary import read_sizes
from tests.pipeline.fuzz import BAD, PRICES

NAN = float("nan")
LABEL = Label("click")


def transform(features: list, train: dict, rows: dict | None = None) -> tuple[dict, dict]:
    """Analyzes `train`, transforms `rows` (or `train`): packed inputs and vocabulary sizes."""
    feature_set = FeatureSet(*features, label=LABEL)
    with tempfile.TemporaryDirectory() as folder:
        config = adapter_config(feature_set)
        with (
            beam.Pipeline(runner=FnApiRunner()) as pipeline,
            tft_beam.Context(temp_dir=folder, passthrough_keys={LABEL.name, KEY, SPLIT}),
        ):
            source = pipeline | "Train" >> beam.Create([_batch(feature_set, train)])
            target = pipeline | "Rows" >> beam.Create([_batch(feature_set, rows or train)])
            graph = (source, config) | tft_beam.AnalyzeDataset(make_preprocessing_fn(feature_set))
            transformed, _ = ((target, config), graph) | tft_beam.TransformDataset(
                output_record_batches=True
            )
            _ = graph | tft_beam.WriteTransformFn(folder)
            _ = transformed | beam.Keys() | beam.Map(_save, f"{folder}/outputs.json")
        outputs = json.loads(pathlib.Path(folder, "outputs.json").read_text())
        return outputs, read_sizes(f"{folder}/transform_fn")


def computed(features: list, rows: dict, missing: tuple = ()) -> dict:
    """Packed inputs, by name, of features of which nothing is analyzed: no pipeline is needed."""
    feature_set = FeatureSet(*features, label=LABEL, missing=missing)
    kinds = {"string": tf.string, "float": tf.float32}
    columns = {
        name: tf.constant(rows[name], kinds[kind]) for name, kind in feature_set.raw_columns.items()
    }
    outputs = make_preprocessing_fn(feature_set)(columns)
    return {name: tensor.numpy().tolist() for name, tensor in outputs.items()}


def _save(batch: pa.RecordBatch, path: str) -> None:
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    pathlib.Path(path).write_text(json.dumps(columns))


def _batch(features: FeatureSet, columns: dict) -> pa.RecordBatch:
    count = len(next(iter(columns.values())))
    kinds = {"string": pa.string(), "float": pa.float32()}
    arrays = {name: pa.array(columns[name], kinds[k]) for name, k in features.raw_columns.items()}
    arrays |= {LABEL.name: pa.array([0.0] * count, pa.float32())}
    arrays |= {KEY: pa.array(range(count)), SPLIT: pa.array([0] * count)}
    return in_column_order(make_batch(arrays))


def test_vocabulary_by_falling_frequency_then_value_with_missing_and_oov_apart():
    outputs, sizes = transform(
        [Categorical("a", min_count=2)],
        {"a": ["x", "z", "x", "y", "z", "", "rare"]},
        {"a": ["x", "z", "y", "rare", "never seen", ""]},
    )
    # id 0 missing, id 1 out of vocabulary, then x and z (2 each, ties by value); y and rare had 1
    assert outputs["categorical"] == [[2], [3], [1], [1], [1], [0]]
    assert sizes == {"a": 2}


def test_vocabularies_follow_each_other_and_values_do_not_mix():
    outputs, sizes = transform(
        [Categorical("a"), Categorical("b", oov_buckets=2), Categorical("c")],
        {"a": ["p", "p", "q"], "b": ["p", "r", "r"], "c": ["p", "", "p"]},
    )
    assert outputs["categorical"] == [[2, 7, 9], [2, 6, 0], [3, 6, 9]]
    assert sizes == {"a": 2, "b": 2, "c": 1}


def test_oov_values_spread_over_their_buckets():
    values = [f"new{i}" for i in range(50)]
    outputs, _ = transform([Categorical("a", oov_buckets=4)], {"a": ["x"] * 50}, {"a": values})
    assert {ids[0] for ids in outputs["categorical"]} == {1, 2, 3, 4}


def test_hashing_keeps_to_its_buckets_and_leaves_missing_alone():
    values = [*(f"v{i}" for i in range(100)), ""]
    outputs, sizes = transform(
        [Categorical("h", hash_buckets=5), Categorical("a")], {"h": values, "a": ["x"] * 101}
    )
    ids = np.array(outputs["categorical"])
    assert set(ids[:100, 0]) == {1, 2, 3, 4, 5}
    assert ids[100, 0] == 0
    assert set(ids[:, 1]) == {7}
    assert sizes == {"a": 1}


def test_only_hashed_features_need_no_vocabulary_file():
    outputs, sizes = transform([Categorical("h", hash_buckets=3)], {"h": ["x", "x", ""]})
    assert outputs["categorical"][0] == outputs["categorical"][1]
    assert outputs["categorical"][2] == [0]
    assert sizes == {}


def test_log_squared():
    values = [-3, 0, 1, 2, 3, 10, 100, NAN, float("inf")]
    outputs = computed([Numeric("x", scale="log_squared")], {"x": values})
    assert np.ravel(outputs["numeric"]).tolist() == [-3, 0, 1, 2, 1, 5, 21, 0, 0]


def test_log_squared_without_floor():
    outputs = computed([Numeric("x", scale="log_squared_continuous")], {"x": [1.5, 10.0]})
    np.testing.assert_allclose(outputs["numeric"], [[1.5], [np.log(10) ** 2]], rtol=1e-6)


def test_min_max_uses_training_extremes_and_clips():
    outputs, _ = transform(
        [Numeric("x", scale="min_max")],
        {"x": [10.0, 20.0, NAN]},
        {"x": [10.0, 12.5, 20.0, 99.0, -5.0, NAN]},
    )
    assert outputs["numeric"] == [[0], [0.25], [1], [1], [0], [0]]


def test_z_score_uses_training_moments_and_gives_zero_for_missing():
    train = np.array([1.0, 2.0, 3.0, 6.0])
    outputs, _ = transform([Numeric("x", scale="z_score")], {"x": [*train, NAN]})
    expected = (train - train.mean()) / train.std()
    np.testing.assert_allclose(np.ravel(outputs["numeric"])[:4], expected, rtol=1e-6)
    assert outputs["numeric"][4] == [0]


@pytest.mark.parametrize("scale", ["min_max", "z_score"])
def test_column_without_spread_or_values_gives_zeros(scale):
    outputs, _ = transform(
        [Numeric("c", scale=scale), Numeric("m", scale=scale)],
        {"c": [7.0, 7.0], "m": [NAN, NAN]},
        {"c": [7.0, 9.0], "m": [NAN, 1.0]},
    )
    assert outputs["numeric"] == [[0, 0], [0, 0]]


def test_scales_keep_the_declared_column_order():
    outputs, _ = transform(
        [Numeric("m", scale="min_max"), Numeric("i"), Numeric("n", scale="min_max")],
        {"m": [0.0, 4.0], "i": [8.0, 9.0], "n": [1.0, 2.0]},
    )
    assert outputs["numeric"] == [[0, 8, 0], [1, 9, 1]]


def test_quantiles_become_one_id_a_bucket():
    values = [float(i) for i in range(300)]
    outputs, sizes = transform([Numeric("q", scale="quantiles", buckets=3)], {"q": [*values, NAN]})
    ids = np.ravel(outputs["categorical"])
    assert ids[300] == 0
    assert list(np.unique(ids[:300])) == [1, 2, 3]
    assert (np.diff(ids[:300]) >= 0).all()
    assert max(abs(np.bincount(ids[:300])[1:] - 100)) <= 2
    assert sizes == {}


def test_what_is_no_zero_has_buckets_where_most_are_zeros():
    counts = np.arange(1.0, 91)
    outputs, _ = transform(
        [Numeric("q", scale="quantiles", buckets=4)], {"q": [*np.zeros(900), *counts]}
    )
    ids = np.ravel(outputs["categorical"])
    np.testing.assert_array_equal(ids, [*[1] * 900, *[2] * 30, *[3] * 30, *[4] * 30])


def test_few_values_have_a_bucket_each():
    outputs, _ = transform([Numeric("q", scale="quantiles", buckets=4)], {"q": [2.0, 2, 2, 2, 5]})
    assert np.ravel(outputs["categorical"]).tolist() == [1, 1, 1, 1, 4]


def test_words_that_mean_a_missing_value_mean_it_in_the_graph():
    features = [
        Categorical("site", hash_buckets=9),
        Numeric("price"),
        Numeric("age", scale="boundaries", boundaries=[0, 50]),
        MultiValued("tags", max_length=2, hash_buckets=9),
    ]
    rows = {
        "site": ["?", "", "a?", "-1"],
        "price": [-1.0, NAN, 2.0, -1.5],
        "age": [-1.0, NAN, 20.0, 60.0],
        "tags": ["?", "", "x|?", "x"],
    }
    outputs = computed(features, rows, missing=("?", "-1"))
    assert [ids[0] == 0 for ids in outputs["categorical"]] == [True, True, False, True]
    assert [ids[1] == 0 for ids in outputs["categorical"]] == [True, True, False, False]
    assert np.ravel(outputs["numeric"]).tolist() == [0, 0, 2, -1.5]
    assert [np.count_nonzero(ids) for ids in outputs["tags"]] == [0, 0, 2, 1]


def test_boundaries_belong_to_the_bucket_above():
    outputs = computed(
        [Numeric("y", scale="boundaries", boundaries=[1990, 2000])],
        {"y": [1919, 1989, 1990, 1999, 2000, 2020, NAN]},
    )
    assert np.ravel(outputs["categorical"]).tolist() == [1, 1, 2, 2, 3, 3, 0]


def test_multi_valued_keeps_the_first_and_skips_empty_values():
    outputs, _ = transform(
        [MultiValued("g", max_length=3)], {"g": ["a|b", "", "b||c", "a|b|c|d", "a"]}
    )
    # ids by frequency: a and b have 3, c has 2, d has 1
    assert outputs["g"] == [[2, 3, 0], [0, 0, 0], [3, 4, 0], [2, 3, 4], [2, 0, 0]]


@pytest.mark.parametrize(("separator", "of_weight"), [("|", ":"), ("; ", "=>"), ("+", "(")])
def test_weights_of_values_are_those_that_pack_gives(separator, of_weight):
    """Of a frame; ids, too."""
    texts = ["b:0.5|a:2", "a", "", "a:1e-3|:4|b:|12:30:.25", "a:0|a:1|é:+2.|b:3", "||a\n|\nb:3e9"]
    tags = [text.replace("|", separator).replace(":", of_weight) for text in texts]
    options = {"max_length": 3, "separator": separator, "weight_separator": of_weight}
    feature = MultiValued("tags", hash_buckets=50, **options)
    expected = FeatureSet(feature, label=LABEL).fit({"tags": tags}).pack({"tags": tags})
    outputs = computed([feature], {"tags": tags})
    assert outputs == {name: values.tolist() for name, values in expected.items()}
    assert outputs["tags_weights"][3] == [np.float32(1e-3), 1, 0.25]


@pytest.mark.parametrize("text", [*PRICES, "1\n", "3.4028234e38", "3.4028236e38"])
def test_weights_are_read_alike_from_files_frames_and_requests(text):
    meaning = {**PRICES, "": 1.0, "-0": BAD, "3.4028234e38": 3.4028234e38}.get(text, BAD)
    feature, tags = MultiValued("tags", hash_buckets=5, weight_separator=":"), [f"a:{text}"]
    features, block = FeatureSet(feature, label=LABEL), Block(0, [b""])
    check_weights(block, feature, pa.array(tags))
    if meaning in (BAD, None):
        assert block.reason[0].endswith("which is not a finite number of at least 0")
        with pytest.raises(ValueError, match="is not a finite number of at least 0"):
            features.fit({"tags": tags})
        with pytest.raises(tf.errors.InvalidArgumentError, match="a weight of tags is not"):
            _weights(feature, tf.constant(tags))
    else:
        assert block.reason[0] is None
        packed = features.fit({"tags": tags}).pack({"tags": tags})["tags_weights"]
        np.testing.assert_array_equal(packed[0, 0], np.float32(meaning))
        np.testing.assert_array_equal(packed, _weights(feature, tf.constant(tags)))


def test_sequence_keeps_the_latest_and_shares_the_candidates_vocabulary():
    outputs, sizes = transform(
        [Categorical("item"), Sequence("history", vocabulary_of="item", max_length=3)],
        {"item": ["x", "x", "y"], "history": ["", "x y x y", "only-in-history x"]},
    )
    assert outputs["categorical"] == [[2], [2], [3]]
    assert outputs["history"] == [[0, 0, 0], [3, 2, 3], [1, 2, 0]]
    assert sizes == {"item": 2}


def test_crosses_count_pairs_and_miss_where_a_part_is_missing():
    outputs, sizes = transform(
        [
            Categorical("a", min_count=2),
            Numeric("n", scale="boundaries", boundaries=[10]),
            Crossed("a", "n", min_count=2),
        ],
        {"a": ["u", "u", "u", "v", "", "u"], "n": [1.0, 2.0, 20.0, 1.0, 1.0, NAN]},
    )
    # ids: a 1 to 2 (OOV, u), n 3 to 4, pairs from 5: OOV and (u, below 10)
    assert outputs["crossed"] == [[6], [6], [5], [5], [0], [0]]
    assert sizes == {"a": 1, "a_x_n": 1}


def test_pair_of_ab_and_c_is_not_the_pair_of_a_and_bc_and_may_be_declared_first():
    outputs, _ = transform(
        [Crossed("a", "b"), Categorical("a"), Categorical("b")],
        {"a": ["ab", "a", "ab"], "b": ["c", "bc", "c"]},
    )
    first, second, third = outputs["crossed"]
    assert first == third
    assert first != second


def test_time_parts():
    times = [
        "14102923",
        "2024-02-29 13:05:00",
        "2024-02-29T00",
        "2024-02-29",
        "2024-13-01",
        "x",
        "",
    ]
    outputs = computed(
        [
            Categorical(part, column="t", time_part=part, hash_buckets=1000)
            for part in ("day", "hour", "weekday")
        ],
        {"t": times},
    )
    expected = [
        ["29", "23", "3"],  # a Wednesday
        ["29", "13", "4"],
        ["29", "0", "4"],
        ["29", "", "4"],
        ["", "", ""],
        ["", "", ""],
        ["", "", ""],
    ]

    def identifier(value: str, column: int) -> int:
        bucket = tf.strings.to_hash_bucket_fast([value], 2**31 - 1).numpy()[0] % 1000
        return 0 if value == "" else 1 + 1000 * column + int(bucket)

    assert outputs["categorical"] == [
        [identifier(value, column) for column, value in enumerate(row)] for row in expected
    ]


def test_weekdays_of_four_centuries():
    dates = [datetime.date.fromordinal(day) for day in range(660_000, 810_000, 13)]
    outputs = computed(
        [Categorical("t", time_part="weekday", hash_buckets=1000)],
        {"t": [date.isoformat() for date in dates]},
    )
    ids = np.ravel(outputs["categorical"])
    weekdays = [str(date.isoweekday()) for date in dates]
    np.testing.assert_array_equal(
        ids, 1 + tf.strings.to_hash_bucket_fast(weekdays, 2**31 - 1) % 1000
    )


def test_value_with_a_line_break_is_out_of_vocabulary():
    outputs, sizes = transform([Categorical("a")], {"a": ["two\nlines", "two\nlines", "plain"]})
    assert outputs["categorical"] == [[1], [1], [2]]
    assert sizes == {"a": 1}
