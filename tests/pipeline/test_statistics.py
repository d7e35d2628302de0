"""Statistics of prepared data: those of pandas on the same rows, within a bounded memory."""

import html.parser
import json
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import text_format
from scipy.spatial import distance
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from ctr_keras.cli import main
from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.metrics import mutual_information
from pipeline import commands
from pipeline.batches import KEY, SPLIT, ParseChunk, column_values, make_batch
from pipeline.datasets import find_dataset
from pipeline.prepare import prepare
from pipeline.sources import Chunk
from pipeline.splits import SPLITS
from pipeline.statistics import FILE
from pipeline.statistics.comparison import compare
from pipeline.statistics.counted import Counted, read_counted, write_counted
from pipeline.statistics.counts import HELD, DistinctSample, count, merge
from pipeline.statistics.expectations import (
    Expectation,
    UnexpectedDataError,
    check_expectations,
)
from pipeline.statistics.files import write_statistics
from pipeline.statistics.page import show
from pipeline.statistics.protos import to_schema, to_statistics
from pipeline.statistics.step import CountFeatures
from pipeline.statistics.summary import TOP, summarize
from tests.conftest import ROOT
from tests.prepared import prepare_once


def raw_rows(name: str, source: str) -> pd.DataFrame:
    """The good rows of a data set as the pipeline reads them, with their splits."""
    dataset = find_dataset(name)
    frames = []
    for number, file in enumerate(dataset.files(source)):
        for chunk in dataset.table.chunks(Chunk(file.path, number, file.split), file.size):
            for output in ParseChunk(dataset, source).process(chunk):
                if isinstance(output, pa.RecordBatch):
                    names = output.schema.names
                    frames.append(pd.DataFrame({n: column_values(output, n) for n in names}))
    rows = pd.concat(frames, ignore_index=True)
    return rows[rows[dataset.features.label.name].notna()]


def values_of(feature, rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """A feature's values as pandas has them, each item of a list a row, missing ones left out."""
    column = rows[feature.column or feature.name].replace("", np.nan)
    if isinstance(feature, MultiValued):
        column = column.str.split(feature.separator).explode()
    if isinstance(feature, Numeric):
        column = column.astype(np.float64)
    table = column.rename("value").to_frame().join(rows[[SPLIT, label]])
    return table.rename(columns={SPLIT: "split", label: "click"}).dropna(subset="value")


def batches_of(rows: dict[str, list], size: int = 1000) -> list[pa.RecordBatch]:
    count_of = len(rows[SPLIT])
    return [
        make_batch({name: pa.array(values[i : i + size]) for name, values in rows.items()})
        for i in range(0, count_of, size)
    ]


def count_in_bundles(features: FeatureSet, batches: list[pa.RecordBatch], bundles: int) -> Counted:
    """What the job makes of batches, in several bundles."""
    combine = CountFeatures(features)
    accumulators = []
    for bundle in range(bundles):
        accumulator = combine.create_accumulator()
        for batch in batches[bundle::bundles]:
            accumulator = combine.add_input(accumulator, batch)
        accumulators.append(combine.compact(accumulator))
    return combine.extract_output(combine.merge_accumulators(accumulators))


REAL = ("criteo-head", "movielens-1m-part")


@pytest.fixture(scope="module", params=REAL)
def real(request, real_sources, tmp_path_factory) -> tuple[FeatureSet, pd.DataFrame, dict]:
    """A real log: its features, its rows, and what the job says of them."""
    name = request.param.removesuffix("-head").removesuffix("-part")
    source = real_sources[request.param]
    folder = prepare_once(name, source, tmp_path_factory)
    features = find_dataset(name).features
    return features, raw_rows(name, str(source)), json.loads((folder / FILE).read_text())


def test_rows_missing_and_distinct_values_are_those_of_pandas(real):
    features, rows, summary = real
    for feature in features.features:
        values = values_of(feature, rows, features.label.name)
        for index, split in enumerate(SPLITS):
            part = rows[rows[SPLIT] == index]
            found = summary["features"][feature.name]["splits"][split]
            of_split = values[values["split"] == index]["value"]
            assert found["rows"] == summary["splits"][split]["rows"] == len(part)
            assert found["missing"] == len(part) - of_split.index.nunique()
            error = 4 * found["distinct_error"]  # standard errors
            assert found["distinct"] == pytest.approx(of_split.nunique(), rel=error, abs=0)


def test_numbers_have_the_moments_and_quantiles_of_pandas(real):
    features, rows, summary = real
    for feature in (f for f in features.features if isinstance(f, Numeric)):
        values = values_of(feature, rows, features.label.name)
        error = summary["features"][feature.name]["values_error"]
        for index, split in enumerate(SPLITS):
            of_split = values[values["split"] == index]["value"]
            found = summary["features"][feature.name]["splits"][split]
            assert found["mean"] == pytest.approx(of_split.mean(), rel=1e-11)
            assert found["deviation"] == pytest.approx(of_split.std(ddof=0), rel=1e-11)
            assert (found["low"], found["high"]) == (of_split.min(), of_split.max())
            assert found["zeros"] == (of_split == 0).sum()
            for share, quantile in found["quantiles"].items():
                if not error:
                    expected = np.quantile(of_split, float(share), method="inverted_cdf")
                    assert quantile == expected
                assert (of_split < quantile).mean() <= float(share) + error
                assert (of_split <= quantile).mean() >= float(share) - error


def test_top_values_and_their_click_rates_are_those_of_pandas(real):
    features, rows, summary = real
    for feature in features.features:
        values = values_of(feature, rows, features.label.name)
        found = summary["features"][feature.name]
        if found["values_error"]:
            continue  # the edges of its buckets are not exact
        for value in found["values"]:
            low, high = (value.get(key, value.get("value")) for key in ("low", "high"))
            members = values[(values["value"] >= low) & (values["value"] <= high)]
            for index, split in enumerate(SPLITS):
                clicks = members[members["split"] == index]["click"]
                assert value["rows"][split] == len(clicks)
                rate = value["click_rate"][split]
                assert rate == (pytest.approx(clicks.mean(), rel=1e-6) if len(clicks) else None)
        if not isinstance(feature, Numeric):
            most = values["value"].value_counts()[:TOP]
            assert [sum(value["rows"].values()) for value in found["values"]] == most.tolist()


def test_information_drift_and_unseen_values_are_those_of_their_definitions(real):
    features, rows, summary = real
    for feature in features.features:
        values = values_of(feature, rows, features.label.name)
        found = summary["features"][feature.name]
        if found["values_error"]:
            continue
        if isinstance(feature, Numeric):
            edges = [bucket["high"] for bucket in found["values"]]
            values["value"] = np.searchsorted(edges, values["value"])
        train = values[values["split"] == 0]
        missing = rows.loc[rows.index.difference(values.index)]
        missing = missing[missing[SPLIT] == 0][features.label.name]
        codes = [*pd.factorize(train["value"])[0] + 1, *np.zeros(len(missing), int)]
        expected = mutual_information([codes], [*train["click"], *missing])
        assert found["information"]["nats"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        shares = values.groupby(["value", "split"]).size().unstack(fill_value=0)
        shares = shares / shares.sum()
        for index, split in enumerate(SPLITS[1:], start=1):
            if isinstance(feature, Numeric):
                drift = distance.jensenshannon(shares[0], shares[index], base=2) ** 2
                assert found["drift"][split] == pytest.approx(drift, rel=1e-6, abs=1e-12)
                continue
            assert found["drift"][split] == pytest.approx((shares[0] - shares[index]).abs().max())
            of_split = values[values["split"] == index]["value"]
            new = of_split[~of_split.isin(train["value"])]
            unseen = found["unseen"][split]
            assert (unseen["values"], unseen["rows"]) == (new.nunique(), len(new))
            assert unseen["rows_share"] == pytest.approx(len(new) / len(of_split))


# More values than are held.


def many(rows: int = 120_000) -> tuple[FeatureSet, dict[str, list]]:
    draw = np.random.default_rng(0)
    users = np.minimum(draw.zipf(1.3, rows), 10**7)
    columns = {
        "user": [f"u{n}" for n in users],
        "price": draw.lognormal(size=rows).astype(np.float32),
        "click": draw.integers(0, 2, rows).astype(np.float32),
        SPLIT: draw.choice(3, rows, p=[0.8, 0.1, 0.1]),
        KEY: np.arange(rows),
    }
    features = FeatureSet(Categorical("user"), Numeric("price"), label=Label("click"))
    return features, columns


def test_many_values_are_bounded_and_the_errors_are_true():
    features, columns = many()
    counted = count_in_bundles(features, batches_of(columns, 4000), bundles=4)
    summary = summarize(counted, features)
    splits, frame = np.array(columns[SPLIT]), pd.DataFrame(columns)
    for name, column in counted.columns.items():
        assert len(column.counts) <= HELD
        assert len(column.sample.hashes) <= HELD
        for index, split in enumerate(SPLITS):
            found = summary["features"][name]["splits"][split]
            distinct = frame[name][splits == index].nunique()
            assert 0 < found["distinct_error"] < 0.1
            assert abs(found["distinct"] / distinct - 1) < 3 * found["distinct_error"]
    user = summary["features"]["user"]
    counts = frame["user"].value_counts()
    for value in user["values"]:
        rows = sum(value["rows"].values())
        assert rows <= counts[value["value"]] <= rows + user["values_error"]
    new = frame[splits == 2]["user"]
    new = (~new.isin(frame[splits == 0]["user"])).mean()
    assert user["unseen"]["test"]["rows_share"] == pytest.approx(new, rel=0.1)
    price = summary["features"]["price"]
    assert 0 < price["values_error"] < 0.01
    for share, quantile in price["splits"]["train"]["quantiles"].items():
        rank = (frame["price"][splits == 0] <= quantile).mean()
        assert rank == pytest.approx(float(share), abs=price["values_error"] + 1e-3)
    buckets = [bucket["rows"]["train"] for bucket in price["values"]]
    assert len(buckets) == TOP
    assert max(buckets) / min(buckets) < 1.05


def test_bundles_make_no_difference():
    features, columns = many(6000)
    one, five = (
        summarize(count_in_bundles(features, batches_of(columns, size), bundles), features)
        for size, bundles in ((6000, 1), (97, 5))
    )
    assert one == five


def test_a_value_is_in_the_sample_with_all_its_rows_or_not_at_all():
    strings = pa.array([f"v{n}" for n in range(3 * HELD)])
    cells = np.zeros((len(strings), 2), np.int64)
    parts = [DistinctSample.of(count(strings[i:], cells[i:])) for i in range(0, 5000, 1000)]
    merged = DistinctSample.merge(parts)
    first = DistinctSample.of(count(strings, cells))
    rows = dict(zip(merged.hashes.tolist(), merged.rows[:, 0].tolist(), strict=True))
    expected = np.minimum(np.arange(len(strings)) // 1000 + 1, 5)
    hashes = DistinctSample.of(count(strings[:HELD], cells[:HELD])).hashes
    assert merged.limit <= first.limit
    assert set(rows.values()) <= {1, 2, 3, 4, 5}
    assert np.mean([*rows.values()]) == pytest.approx(expected.mean(), abs=0.05)
    assert len(hashes) == HELD  # this many are all there


def test_merging_keeps_the_most_frequent_values():
    rare = [f"rare{n}" for n in range(2 * HELD)]
    parts = [
        count(pa.array(["often"] * 50 + rare[i::4]), np.zeros((50 + len(rare[i::4]), 2), np.int64))
        for i in range(4)
    ]
    merged = merge(parts)
    place = merged.values.to_pylist().index("often")
    assert merged.counts[place, 0, 0] == 200
    assert merged.error == 1
    assert merged.total[0, 0] == 200 + len(rare)


def test_a_log_without_a_row_has_statistics():
    features, _ = many(1)
    summary = summarize(None, features)
    assert summary["splits"]["train"] == {"rows": 0, "click_rate": None}
    assert summary["features"] == {}


def test_a_split_without_rows_and_a_feature_without_values_have_no_drift():
    features, columns = many(50)
    columns |= {SPLIT: [0] * 40 + [2] * 10, "user": [""] * 50, "price": [math.nan] * 50}
    summary = summarize(count_in_bundles(features, batches_of(columns), 1), features)
    for feature in summary["features"].values():
        assert feature["drift"]["validation"] is feature["drift"]["test"] is None
        assert feature["splits"]["test"]["missing"] == 10
        assert feature["values"] == []


def test_rows_left_out_of_a_sample_are_made_up_for():
    whole, columns = many(60_000)
    columns["user"] = [f"u{n % 5}" for n in range(60_000)]
    columns["click"] = np.float32(np.arange(60_000) % 7 < np.arange(60_000) % 5)
    draw = np.random.default_rng(1)
    kept = (columns["click"] == 1) | (columns[SPLIT] > 0) | (draw.random(60_000) < 0.2)
    sampled = {name: np.array(values)[kept] for name, values in columns.items()}
    label = Label("click", negatives_kept=0.2)
    thinned = FeatureSet(*whole.features, label=label)
    expected = summarize(count_in_bundles(whole, batches_of(columns), 1), whole)
    found = summarize(count_in_bundles(thinned, batches_of(sampled), 1), thinned)
    assert found["splits"]["train"]["rows"] < expected["splits"]["train"]["rows"]
    rate = expected["splits"]["train"]["click_rate"]
    assert found["splits"]["train"]["click_rate"] == pytest.approx(rate, abs=0.01)
    for name in ("user", "price"):
        feature, whole_feature = found["features"][name], expected["features"][name]
        assert feature["drift"]["test"] == pytest.approx(whole_feature["drift"]["test"], abs=0.01)
        nats = whole_feature["information"]["nats"]
        assert feature["information"]["nats"] == pytest.approx(nats, rel=0.1, abs=0.002)


def test_each_label_has_what_it_would_have_alone(tmp_path):
    features, columns = many(6000)
    columns["user"] = [f"u{n % 5}" if n % 15 else "" for n in range(6000)]
    columns["buy"] = np.float32(np.arange(6000) % 5 == 1)
    labels = ("click", "buy")
    several = FeatureSet(*features.features, label=[*map(Label, labels)])
    found = summarize(count_in_bundles(several, batches_of(columns), 2), several)
    alone = {}
    for label in labels:
        one = several.with_labels([label])
        alone[label] = summarize(count_in_bundles(one, batches_of(columns), 1), one)
    assert {key: of for key, of in found.items() if key != "more_labels"} == alone["click"]
    for split, of in found["more_labels"]["buy"]["splits"].items():
        assert of["click_rate"] == alone["buy"]["splits"][split]["click_rate"]
    for name, feature in alone["buy"]["features"].items():
        of_buy = found["more_labels"]["buy"]["features"][name]
        assert of_buy["information"] == feature["information"]
        rates = [value["click_rate"] for value in feature["values"]]
        assert [value["click_rate"] for value in of_buy["values"]] == rates
        for split, of in feature["splits"].items():
            assert of_buy["splits"][split]["missing_click_rate"] == of["missing_click_rate"]
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(to_statistics(found))
    names = [feature.path.step[0] for feature in statistics.datasets[0].features]
    assert names[:2] == ["click", "buy"]
    schema = text_format.Parse(to_schema(found), schema_pb2.Schema())
    assert [feature.name for feature in schema.feature][:2] == ["click", "buy"]
    (tmp_path / FILE).write_text(json.dumps(found))
    said = list(show(str(tmp_path)))
    rate = alone["buy"]["splits"]["train"]["click_rate"]
    assert re.fullmatch(rf"train: \S+ rows, click [\d.]+%, buy {rate:.1%}", said[0])
    assert any(line.startswith("user tells") and "of buy: is it known" in line for line in said)
    page = (tmp_path / "statistics.html").read_text()
    assert "information on buy" in page
    assert f'<td class="number">{rate:.1%}</td>' in page


# What is expected.


@pytest.fixture(scope="module")
def shifted() -> tuple[FeatureSet, dict]:
    """Statistics of rows whose test split is missing more, and other values."""
    rows = 900
    split = np.arange(rows) % 3
    where = np.where(split == 2, "new", np.where(np.arange(rows) % 2 == 0, "a", "b"))
    columns = {
        "site": np.where(np.arange(rows) % 30 == 2, "", where),
        "time": [f"2024-03-{d:02d} {h:02d}:00:00" for d, h in zip(split + 1, split, strict=True)],
        "click": (np.arange(rows) % 4 == 0).astype(np.float32),
        SPLIT: split,
        KEY: np.arange(rows),
    }
    features = FeatureSet(
        Categorical("site"),
        Categorical("hour", column="time", time_part="hour"),
        label=Label("click"),
    )
    return features, summarize(count_in_bundles(features, batches_of(columns), 2), features)


def test_limits_that_are_broken_are_named_one_a_line(shifted):
    _, summary = shifted
    expected = {"site": Expectation(missing=0.05, drift=0.6, unseen=0.99)}
    with pytest.raises(UnexpectedDataError) as raised:
        check_expectations(summary, expected)
    assert str(raised.value).splitlines() == [
        "site is missing in a share of 0.1 of test, expected at most 0.05",
        "site drifts from train to test by 1 (L-infinity), expected at most 0.6",
        "site is new to train in a share of 1 of test, expected at most 0.99",
    ]
    warned = {"site": Expectation(missing=0.05, otherwise="warn")}
    assert check_expectations(summary, warned) == [str(raised.value).splitlines()[0]]
    assert check_expectations(summary, {"site": Expectation(missing=0.2)}) == []


def test_without_training_rows_nothing_is_new_and_nothing_drifts():
    features, columns = many(50)
    columns[SPLIT] = [2] * 50
    summary = summarize(count_in_bundles(features, batches_of(columns), 1), features)
    assert summary["features"]["user"]["unseen"]["test"]["rows_share"] is None
    assert check_expectations(summary, {"user": Expectation(drift=0.1, unseen=0.1)}) == [
        "user: drift and new values are not looked at without training rows"
    ]
    assert check_expectations(summary, {"user": Expectation(missing=0.1)}) == []


def test_parts_of_times_are_counted_as_the_feature_has_them(shifted):
    _, summary = shifted
    hour = summary["features"]["hour"]
    assert [(v["value"], v["rows"]["test"]) for v in hour["values"]] == [
        ("0", 0),
        ("1", 0),
        ("2", 300),
    ]
    assert hour["column"] == "time"


# Several folders.


@pytest.mark.parametrize("rows", [6000, 30_000], ids=["exact", "bounded"])
def test_what_was_counted_is_the_same_from_its_file(rows, tmp_path):
    features, columns = many(rows)
    columns["tags"] = ["|".join(user[:3]) for user in columns["user"]]
    features = FeatureSet(*features.features, MultiValued("tags"), label=features.label)
    counted = count_in_bundles(features, batches_of(columns), bundles=3)
    write_counted(counted, str(tmp_path / "counted.parquet"))
    expected = summarize(counted, features)
    assert summarize(read_counted(str(tmp_path / "counted.parquet")), features) == expected
    shuffled = count_in_bundles(features, batches_of(columns)[::-1], bundles=2)
    if rows == 6000:
        write_counted(shuffled, str(tmp_path / "shuffled.parquet"))
        written = [path.read_bytes() for path in tmp_path.iterdir()]
        assert written[0] == written[1]


def test_rows_are_moved_to_other_splits_as_if_they_had_always_been_there():
    features, columns = many(6000)
    moved = {**columns, SPLIT: np.array([2, 2, 1])[columns[SPLIT]]}
    kept = {name: np.array(of)[columns[SPLIT] != 1] for name, of in columns.items()}
    expected = (moved, {**kept, SPLIT: kept[SPLIT] // 2})
    counted = count_in_bundles(features, batches_of(columns), 1)
    for targets, rows in zip([(2, 2, 1), (0, None, 1)], expected, strict=True):
        found = summarize(counted.moved(targets), features)
        assert found == summarize(count_in_bundles(features, batches_of(rows), 1), features)


def folder_of(path: pathlib.Path, columns: dict, features: FeatureSet, declares: str = "") -> str:
    """What `stats` needs of a prepared folder."""
    path.mkdir()
    (path / "report.json").write_text("{}")
    features.save(str(path / "features.json"))
    if declares:
        (path / "dataset.yaml").write_text(declares)
    write_statistics(count_in_bundles(features, batches_of(columns), 2), features, str(path))
    return str(path)


def days(price: float) -> tuple[dict, FeatureSet]:
    """400 rows, of whose splits all have the same values."""
    rows = np.arange(400)
    columns = {
        "site": [f"s{row % 5}" for row in rows],
        "tags": ["a|b"] * 400,
        "price": np.where(rows % 8 < 7, price, np.nan).astype(np.float32),
        "click": (rows % 4 == 0).astype(np.float32),
        SPLIT: rows // 40 % 3,
    }
    price_feature, label = Numeric("price"), Label("click")
    return columns, FeatureSet(Categorical("site"), MultiValued("tags"), price_feature, label=label)


def test_all_rows_of_a_folder_are_compared_with_training_rows_schema_and_limits(tmp_path):
    (first, features), (second, _) = days(2.5), days(7.5)
    second |= {"site": ["new", ""] + ["s1"] * 398, "tags": ["a|b|c"] * 400}
    limits = declaration(tmp_path, site={"drift": 0.3}, price={"drift": 0.2, "otherwise": "warn"})
    monday = folder_of(tmp_path / "monday", first, features)
    tuesday = folder_of(tmp_path / "tuesday", second, features, pathlib.Path(limits).read_text())
    shown = CliRunner().invoke(main, ["stats", "--data", tuesday, "--against", monday])
    assert shown.exit_code == 1
    assert shown.stderr == (
        "Error: site drifts from train to test by 0.797 (L-infinity), expected at most 0.3\n"
    )
    assert shown.stdout.splitlines() == [
        "train: 160 rows, click 25.0%",
        "validation: 120 rows, click 25.0%",
        "test: 400 rows, click 25.0%",
        "site drifts from train: 0.7975 in test",
        "tags drifts from train: 0.3333 in test",
        "tags has values that train has not: 33.3% in test",
        "price drifts from train: 1.0000 in test",
        "site is missing in 0.0025 of test, and may be in 0 (schema.pbtxt)",
        "site has values that are not its own: 'new' (schema.pbtxt)",
        "tags has 3 values in a row of test, and may have 2 (schema.pbtxt)",
        "tags has values that are not its own: 'c' (schema.pbtxt)",
        "price goes up to 7.5 in test, and may to 2.5 (schema.pbtxt)",
        f"page: {tuesday}/statistics-against-monday.html",
    ]
    assert not (tmp_path / "tuesday" / "statistics.html").exists()
    schema = tmp_path / "monday" / "schema.pbtxt"
    schema.write_text(schema.read_text().replace("2.5", "9.5").replace('"s0"', '"new"'))
    edited = CliRunner().invoke(main, ["stats", "--data", tuesday, "--against", monday])
    assert "price goes down to 7.5 in test, and may to 9.5 (schema.pbtxt)" in edited.stdout
    assert "site has values" not in edited.stdout
    schema.write_text("feature {")
    broken = CliRunner().invoke(main, ["stats", "--data", tuesday, "--against", monday])
    assert re.fullmatch(rf"Error: {schema}, line 1:\d+ : .*\n", broken.stderr)


def test_a_folder_next_to_itself_has_nothing_unusual(tmp_path):
    columns, features = days(2.5)
    monday = folder_of(tmp_path / "monday", columns, features)
    again = folder_of(tmp_path / "again", columns, features)
    _, _, _, *unusual, page = show(again, against=monday)
    assert unusual == []
    assert page.endswith("against-monday.html")


def test_folders_of_other_features_or_of_sampled_rows_alone_are_not_compared(tmp_path):
    columns, features = days(2.5)
    monday = folder_of(tmp_path / "monday", columns, features)
    others = FeatureSet(Categorical("site"), label=features.label)
    other = folder_of(tmp_path / "other", columns, others)
    message = f"{other} and {monday} are of other features: 'tags' is not there and multi_valued"
    with pytest.raises(ValueError, match=message):
        compare(other, monday)
    label = Label("click", negatives_kept=0.5)
    sampled = FeatureSet(*features.features, label=label)
    trained = folder_of(tmp_path / "trained", columns | {SPLIT: [0] * 400}, sampled)
    with pytest.raises(ValueError, match=f"^{trained} has no rows but a sample of training rows"):
        compare(trained, folder_of(tmp_path / "known", columns, sampled))


# The formats of TensorFlow Data Validation.


def test_other_tools_read_statistics_and_schema(shifted):
    _, summary = shifted
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(to_statistics(summary))
    assert [(d.name, d.num_examples) for d in statistics.datasets] == [(s, 300) for s in SPLITS]
    site = next(f for f in statistics.datasets[2].features if f.path.step == ["site"])
    assert site.type == statistics_pb2.FeatureNameStatistics.STRING
    assert site.string_stats.common_stats.num_missing == 30
    assert site.string_stats.common_stats.num_non_missing == 270
    assert site.string_stats.unique == 1
    assert [(v.value, v.frequency) for v in site.string_stats.top_values] == [("new", 270)]
    schema = text_format.Parse(to_schema(summary), schema_pb2.Schema())
    assert [feature.name for feature in schema.feature] == ["click", "site", "hour"]
    assert list(schema.feature[1].string_domain.value) == ["a", "b"]


def test_numbers_have_histograms_for_other_tools():
    features, columns = many(3000)
    summary = summarize(count_in_bundles(features, batches_of(columns), 1), features)
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(to_statistics(summary))
    price = next(f for f in statistics.datasets[0].features if f.path.step == ["price"])
    buckets = price.num_stats.histograms[0].buckets
    train = np.array(columns["price"])[np.array(columns[SPLIT]) == 0]
    assert sum(bucket.sample_count for bucket in buckets) == len(train)
    assert price.num_stats.median == np.quantile(train, 0.5, method="inverted_cdf")
    assert price.num_stats.mean == pytest.approx(train.mean(dtype=np.float64))


# The page, and the command.


@pytest.fixture
def prepared_folder(shifted, tmp_path):
    """A folder with statistics in which names are not harmless."""
    _, summary = shifted
    text = json.dumps(summary).replace('"new"', '"<script>alert(1)</script>"')
    (tmp_path / FILE).write_text(text)
    return tmp_path


def test_the_page_needs_nothing_else_and_nothing_in_it_is_run(prepared_folder):
    shown = CliRunner().invoke(commands.stats, ["--data", str(prepared_folder)])
    assert shown.exit_code == 0, shown.output
    page = (prepared_folder / "statistics.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    parsed = PageParser()
    parsed.feed(page)
    assert parsed.open == []
    assert {"site", "hour"} <= parsed.ids
    assert parsed.targets <= parsed.ids
    assert shown.output.splitlines() == [
        "train: 300 rows, click 25.0%",
        "validation: 300 rows, click 25.0%",
        "test: 300 rows, click 25.0%",
        "site drifts from train: 1.0000 in test",
        "site has values that train has not: 100.0% in test",
        "hour is always the same in train",
        "hour drifts from train: 1.0000 in validation, 1.0000 in test",
        "hour has values that train has not: 100.0% in validation, 100.0% in test",
        f"page: {prepared_folder / 'statistics.html'}",
    ]


class PageParser(html.parser.HTMLParser):
    """The elements of a page that are still open, its ids and the ids that it links to."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets = [], set(), set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in ("meta",):
            self.open.append(tag)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if "href" in attributes:
            self.targets.add(attributes["href"].removeprefix("#"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_goes_where_it_is_wanted(prepared_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages") / "page.html"
    arguments = ["--data", str(prepared_folder), "--out", str(out)]
    assert CliRunner().invoke(commands.stats, arguments).exit_code == 0
    assert out.exists()
    assert not (prepared_folder / "statistics.html").exists()


def test_a_page_that_cannot_be_written_is_said(prepared_folder, tmp_path):
    (tmp_path / "file").touch()
    command = ["stats", "--data", str(prepared_folder), "--out"]
    for out, reason in ((tmp_path, "Is a directory"), (tmp_path / "file" / "page", "File exists")):
        result = CliRunner().invoke(main, [*command, str(out)])
        assert result.exit_code == 1
        assert re.fullmatch(rf"Error: {tmp_path}\S*: {reason}\n", result.output)


def test_a_folder_without_statistics_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no prepared data: there is no report\.json$"):
        list(show(str(tmp_path)))
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="an earlier version has prepared the data; prep"):
        list(show(str(tmp_path)))


def test_the_page_comes_without_anything_heavy(prepared_folder):
    code = (
        "import sys; from pipeline.statistics.page import show; list(show(sys.argv[1]));"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(prepared_folder)]
    loaded = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert loaded.returncode == 0, loaded.stderr
    assert not {"apache_beam", "keras", "matplotlib", "tensorflow"} & set(loaded.stdout.split())


# The job.


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> pathlib.Path:
    """A log whose last day is without a price."""
    folder = tmp_path_factory.mktemp("log")
    draw = np.random.default_rng(0)
    rows = ["day,site,price,click"]
    for row in range(400):
        day, site, price = row // 40, draw.choice(["a", "b"]), f"{draw.random():.2}"
        values = "c," if day == 9 else f"{site},{price}"
        rows.append(f"{day},{values},{draw.integers(2)}")
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    return folder / "log.csv"


def declaration(folder: pathlib.Path, **expect) -> str:
    features = [
        {"kind": "categorical", "name": "site"},
        {"kind": "numeric", "name": "price", "scale": "z_score"},
    ]
    path = folder / "my.yaml"
    split = {"by": "time", "column": "day", "validation_from": 8, "test_from": 9}
    keys = {"source": {"format": "csv"}, "label": "click", "features": features, "split": split}
    path.write_text(yaml.safe_dump({**keys, "expect": expect}))
    return str(path)


def test_a_broken_limit_fails_prepare_and_leaves_what_was_found(log, tmp_path):
    name = declaration(
        tmp_path, price={"missing": 0.1}, site={"drift": 0.3, "unseen": 0.5, "otherwise": "warn"}
    )
    with pytest.raises(UnexpectedDataError) as raised:
        prepare(name, str(log), str(tmp_path / "out"))
    expected = "price is missing in a share of 1 of test, expected at most 0.1"
    assert str(raised.value) == expected
    assert not (tmp_path / "out").exists()
    found = json.loads((tmp_path / "out.failed" / FILE).read_text())
    assert found["features"]["price"]["splits"]["test"]["missing"] == 40
    assert not (tmp_path / "out.failed" / "examples").exists()


def test_limits_that_only_warn_are_in_the_report_and_edited_ones_count_for_what_is_there(
    log, tmp_path
):
    out, limits = tmp_path / "out", {"missing": 0.1}
    prepare(declaration(tmp_path, site=limits), str(log), str(out))
    warning = "price is missing in a share of 1 of test, expected at most 0.1"
    warns = declaration(tmp_path, price={**limits, "otherwise": "warn"})
    assert warning in prepare(warns, str(log), str(out))["warnings"]
    with pytest.raises(UnexpectedDataError, match=warning):
        prepare(declaration(tmp_path, price=limits), str(log), str(out))
    assert out.exists()


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"sit": {"drift": 0.1}}, r"line \d+: there is no feature 'sit'; did you mean 'site'\?"),
        ({"site": {"drfit": 0.1}}, r"line \d+: unknown setting 'drfit'; did you mean 'drift'\?"),
        ({"site": {"drift": -1}}, r"line \d+: drift must be at least 0"),
        ({"site": {"otherwise": "shout"}}, r"line \d+: otherwise must be 'fail' or 'warn'"),
        ({"site": 3}, r"line \d+: expected keys and values, got 3"),
    ],
)
def test_a_wrong_expectation_is_named_with_its_line(expect, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        find_dataset(declaration(tmp_path, **expect))
