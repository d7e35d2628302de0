"""What `features.fit` and `features.pack` give without Beam is what `prepare` gives."""

import pathlib
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet
import pytest
import yaml

from ctr_keras.data.records import read_rows, read_samples
from ctr_keras.features import FeatureSet
from ctr_keras.types import Array
from pipeline.batches import SPLIT, ParseChunk, column_values
from pipeline.datasets import find_dataset
from pipeline.prepare import prepare
from pipeline.sources import Chunk
from tests.parameters import first_of
from tests.prepared import keep_some_rows, prepare_once


def raw_training_rows(name: str, source: str) -> dict[str, Array]:
    """The raw columns of a data set's training split, read as the pipeline reads them."""
    dataset = find_dataset(name)
    batches = []
    for file in dataset.files(source):
        for chunk in dataset.table.chunks(Chunk(file.path, 0, file.split), file.size):
            outputs = ParseChunk(dataset, source).process(chunk)
            batches += [output for output in outputs if isinstance(output, pa.RecordBatch)]
    columns = {
        column: np.concatenate([column_values(batch, column) for batch in batches])
        for column in batches[0].schema.names
    }
    is_train = (columns[SPLIT] == 0) & ~np.isnan(columns[dataset.features.label.name])
    history = dataset.history and dataset.history.column  # made by Beam; nothing is counted in it
    return {
        column: np.full(is_train.sum(), "") if column == history else columns[column][is_train]
        for column in dataset.features.raw_columns
    }


def assert_packs_as_prepared(prepared, name: str, source) -> None:
    """Checks a loaded and a newly fitted set against the vocabularies and samples of a folder."""
    loaded = FeatureSet.load_fitted(prepared)
    fitted = loaded.fit(raw_training_rows(name, str(source)))
    assert fitted == loaded
    assert fitted.statistics.values == loaded.statistics.values
    for feature, numbers in loaded.statistics.numbers.items():
        np.testing.assert_allclose(fitted.statistics.numbers[feature], numbers, rtol=1e-12)
    samples = read_samples(str(prepared), loaded)
    assert samples.rows
    frame = pd.DataFrame(samples.rows)
    for features in (loaded, fitted):
        packed = features.pack(frame)
        assert {n: a.shape[1:] for n, a in packed.items()} == features.packed_shapes
        for packed_input, expected in samples.inputs.items():
            assert packed[packed_input].dtype == expected.dtype
            np.testing.assert_array_equal(packed[packed_input], expected)


# Built-in data sets; most folders are also those of other tests.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("movielens-1m-part", "movielens-1m"),
        ("movielens-1m-part", "movielens-1m-history"),
        pytest.param("criteo", "criteo", marks=pytest.mark.whole),  # as the next one
        ("criteo-head", "criteo"),
        ("criteo-terabyte", "criteo-terabyte"),
        ("avazu", "avazu"),
    ],
)
def test_built_in_data_sets(real_sources, tmp_path_factory, source, name):
    path = real_sources[source]
    assert_packs_as_prepared(prepare_once(name, path, tmp_path_factory), name, path)


def test_a_synthetic_log_with_broken_rows(prepared_synthetic, synthetic_log):
    assert_packs_as_prepared(prepared_synthetic, "synthetic", synthetic_log)


# Logs of strangers.

ROWS = 5000  # of each, about


def categories(names: str, **options) -> list[dict]:
    return [{"kind": "categorical", "name": name, **options} for name in names.split()]


STRANGERS = {
    "frappe_x1": {
        "source": {"format": "csv"},
        "label": "label",
        "features": categories(
            "user item daytime weekday isweekend homework cost weather country city",
            min_count=3,
            oov_buckets=2,
        ),
        "split": {"by": "files", "train": "valid.csv.gz", "test": "test.csv.gz"},
    },
    "amazon_access": {
        "source": {"format": "csv", "files": "train.csv.gz"},
        "label": "ACTION",
        "features": [
            *categories("RESOURCE MGR_ID ROLE_ROLLUP_1 ROLE_ROLLUP_2 ROLE_DEPTNAME ROLE_TITLE"),
            *categories("ROLE_FAMILY", hash_buckets=50),
            {"kind": "crossed", "first": "MGR_ID", "second": "ROLE_TITLE", "min_count": 2},
        ],
    },
    "coupons": {
        "source": {"format": "csv", "files": "coupons.csv.gz"},
        "label": "Y",
        "features": [
            *categories(
                "destination passanger weather time coupon age occupation income car CoffeeHouse"
            ),
            {"kind": "numeric", "name": "temperature", "scale": "z_score"},
            {"kind": "numeric", "name": "warmth", "column": "temperature", "scale": "min_max"},
            {"kind": "multi_valued", "name": "words", "column": "income", "separator": " "},
        ],
    },
    "talkingdata": {
        "source": {"format": "csv", "files": "train_sample.csv.gz"},
        "label": "is_attributed",
        "features": [
            *categories("app device os channel", min_count=5),
            *categories("hour", column="click_time", time_part="hour"),
            *categories("weekday", column="click_time", time_part="weekday", hash_buckets=9),
            {"kind": "crossed", "first": "app", "second": "hour", "hash_buckets": 1000},
        ],
    },
    "ipinyou": {
        "source": {
            "format": "csv",
            "header": False,
            "columns": ["click", *(f"index_{i}" for i in range(16))],
            "delimiter": " ",
            "quoted": False,
        },
        "label": "click",
        "features": categories(" ".join(f"index_{i}" for i in range(16)), min_count=2),
        "split": {"by": "files", "train": "train.fm.txt.gz", "test": "test.fm.txt.gz"},
    },
    "amazon_reviews": {
        "source": {"format": "parquet", "files": "log.parquet"},
        "label": "liked",
        "features": [
            *categories("reviewerID asin", min_count=8),
            {"kind": "multi_valued", "name": "helpful", "max_length": 2},
            {
                **{"kind": "numeric", "name": "unixReviewTime"},
                **{"scale": "quantiles", "buckets": 12},
            },
        ],
    },
}


def declare(folder: pathlib.Path, declaration: dict) -> str:
    path = folder / "my.yaml"
    path.write_text(yaml.safe_dump(declaration))
    return str(path)


@pytest.mark.parametrize("log", first_of(reversed(STRANGERS)))
def test_logs_of_strangers(real_data, tmp_path, log):
    source = real_data / log
    if log == "amazon_reviews":  # a log in Parquet, with numbers and lists
        table = pa.json.read_json(source / "musical_instruments.jsonl.gz")
        liked = pa.array(np.asarray(table["overall"]) > 3)
        source = tmp_path
        pa.parquet.write_table(table.append_column("liked", liked), source / "log.parquet")
    elif file := STRANGERS[log]["source"].get("files"):
        shutil.copyfile(source / file, tmp_path / file)
        source = tmp_path
        keep_some_rows(source / file, ROWS)
    name = declare(tmp_path, STRANGERS[log])
    prepare(name, str(source), str(tmp_path / "out"))
    assert_packs_as_prepared(tmp_path / "out", name, source)


# Kinds of values.


def test_parquet_columns_are_packed_as_they_are(tmp_path):
    draw = np.random.default_rng(0)
    rows = 400
    frame = pd.DataFrame(
        {
            "whole": draw.integers(-3, 3, rows).astype("float64"),
            "huge": 2**62 + draw.integers(0, 9, rows),
            "maybe": pd.array(draw.choice([1, 2, None], rows), "Int64"),
            "flag": draw.integers(0, 2, rows) == 1,
            "word": draw.choice(["ä", "a b", "=", " a", "two\nlines", "", None], rows),
            "number": draw.choice([0.1, -7, 1e-20, None], rows).astype("float64"),
            "tags": [[f"t{i}" for i in draw.integers(0, 4, n % 4)] for n in range(rows)],
            "click": draw.integers(0, 2, rows),
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    declaration = {
        "source": {"format": "parquet"},
        "label": "click",
        "features": [
            *categories("whole huge maybe flag word", min_count=2),
            {"kind": "numeric", "name": "number", "scale": "log_squared_continuous"},
            {"kind": "numeric", "name": "bucket", "column": "number", "scale": "quantiles"}
            | {"buckets": 3},
            {"kind": "multi_valued", "name": "tags", "max_length": 2, "separator": ","},
            {"kind": "crossed", "first": "bucket", "second": "flag"},
        ],
        "split": {"by": "random", "validation": 0, "test": 0},
    }
    name = declare(tmp_path, declaration)
    prepare(name, str(tmp_path / "log.parquet"), str(tmp_path / "out"))
    loaded = FeatureSet.load_fitted(tmp_path / "out")
    tables = (frame, pyarrow.parquet.read_table(tmp_path / "log.parquet"))
    expected, labels = read_rows(str(tmp_path / "out"), "train", loaded, rows)
    for table in tables:
        fitted = loaded.fit(table)
        assert fitted.statistics.values == loaded.statistics.values
        assert fitted.statistics.numbers == loaded.statistics.numbers
        packed = {"click": fitted.labels(table), **fitted.pack(table)}
        # The records are shuffled.
        assert rows_of(packed) == rows_of({"click": labels, **expected})


def rows_of(arrays: dict[str, Array]) -> list[tuple[float, ...]]:
    names = sorted(arrays)
    return sorted(map(tuple, np.concatenate([arrays[name] for name in names], 1).tolist()))
