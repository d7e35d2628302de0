"""Built-in and declared data sets: what their columns, labels and histories come out as."""

import json
import pathlib

import numpy as np
import pytest

from ctr_keras.features import FeatureSet
from pipeline.block import Block
from pipeline.datasets import DATASETS, find_dataset
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.json_lines import JsonLines
from pipeline.parsing.parquet import Parquet
from pipeline.sources import Chunk
from pipeline.splits import ColumnSplit, FileSplit, RandomSplit, TimeSplit
from tests.prepared import BROKEN, ROWS

MOVIELENS = {
    "ratings.dat": "1::10::5::100\n1::20::3::90\n2::10::1::80\n9::10::4::70\n1::30::6::60\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    "movies.dat": "10::Toy (1995)::Animation|Comedy\n20::Café (1950)::Drama\n30::X (2000)::War\n",
}


def parse(dataset, source: pathlib.Path) -> tuple[Block, dict, np.ndarray]:
    ((path, size, split, _),) = dataset.files(str(source))
    (chunk,) = dataset.table.chunks(Chunk(path, 0, split), size)
    (block,) = dataset.table.read(chunk)
    columns, label = dataset.parse(block, str(source))
    return block, {name: column.to_pylist() for name, column in columns.items()}, label


@pytest.mark.parametrize("name", DATASETS)
def test_built_in_declarations_are_whole(name):
    dataset = find_dataset(name)
    assert dataset.name == name
    assert dataset.features.field_names


def test_field_counts_of_the_papers():
    assert len(DATASETS["movielens-1m"]().features.fields) == 7
    assert len(DATASETS["criteo"]().features.fields) == 39
    assert len(DATASETS["avazu"]().features.fields) == 24


@pytest.mark.parametrize(
    ("name", "scale", "buckets", "min_count"),
    [
        ("criteo", "log_squared", None, 10),
        ("criteo-buckets", "quantiles", 20, 20),
        ("criteo-min-max", "min_max", None, 20),
        ("criteo-crossed", "min_max", None, 20),
    ],
)
def test_criteos_counts_are_scaled_as_in_the_papers(name, scale, buckets, min_count):
    features = DATASETS[name]().features
    assert {(features[f"I{i}"].scale, features[f"I{i}"].buckets) for i in range(1, 14)} == {
        (scale, buckets)
    }
    assert {features[f"C{i}"].min_count for i in range(1, 27)} == {min_count}


@pytest.mark.parametrize(
    ("name", "min_count", "pairs", "min_count_of_pairs"),
    [
        ("criteo-crossed", 20, 325, {20}),
        ("avazu", 5, 0, set()),
        ("avazu-min-count", 20, 0, set()),
        ("avazu-crossed", 5, 276, {1}),
    ],
)
def test_categories_are_counted_and_crossed_as_in_the_papers(
    name, min_count, pairs, min_count_of_pairs
):
    features = DATASETS[name]().features
    crossed = {f.name for f in features.crossed}
    assert {f.min_count for f in features.categorical if f.name not in crossed} == {min_count}
    assert (len(crossed), {f.min_count for f in features.crossed}) == (pairs, min_count_of_pairs)


def test_movielens_joins_labels_and_filters(tmp_path):
    for name, text in MOVIELENS.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    block, columns, label = parse(DATASETS["movielens-1m"](), tmp_path)
    assert columns["gender"] == ["F", "F", "M", "", "F"]
    assert columns["year"][:3] == [1995, 1950, 1995]
    assert columns["genres"][1] == "Drama"
    assert label[[0, 2]].tolist() == [1, 0]
    assert np.isnan(label[1])
    assert block.reason.tolist() == [None, None, None, "unknown user_id", "rating is not 1 to 5"]


def test_unknown_data_set_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'kdd'.*criteo"):
        find_dataset("kdd")


# Declared in YAML.

YAML = """
source: {format: csv, missing: [NA]}
label: click
features:
  - {kind: categorical, name: site, min_count: 2}
  - {kind: numeric, name: price, scale: min_max}
"""


COLUMNS, SEPARATORS = ("click", "price", "site", "tags"), (("tags", " "),)
OF_WEIGHTS = (("tags", "="),)


@pytest.fixture
def log(tmp_path) -> pathlib.Path:
    path = tmp_path / "log.csv"
    path.write_text("time,site,price,click\n1,a,0.5,1\n2,NA,NA,0\n3,,1.5,2\n")
    return path


def declare(tmp_path, text: str) -> str:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return str(path)


def test_yaml_data_set(tmp_path, log):
    dataset = find_dataset(declare(tmp_path, YAML))
    block, columns, label = parse(dataset, log)
    assert columns["site"] == ["a", "", ""]
    assert columns["price"][0] == 0.5
    assert np.isnan(columns["price"][1])
    assert label[:2].tolist() == [1, 0]
    assert block.reason.tolist()[:2] == [None, None]
    assert block.reason[2].startswith("label click is '2', not 0 or 1 (or true and false")


@pytest.mark.parametrize(
    ("label", "values", "expected"),
    [
        ("click", "1 1.0 +1 true TRUE Yes t Y", 1),
        ("click", "0 0.0 -1 -1.0 false No F n", 0),
        ("{column: click, positive: ['yes', 4]}", "yes 4", 1),
        ("{column: click, positive: ['yes']}", "Yes 1 -", 0),
        ("{column: click, positive: [a], negative: [b]}", "b", 0),
    ],
)
def test_labels_are_taken_in_their_usual_spellings_or_as_declared(
    tmp_path, log, label, values, expected
):
    log.write_text("site,price,click\n" + "".join(f"a,1,{value}\n" for value in values.split()))
    text = YAML.replace("label: click", f"label: {label}")
    dataset = find_dataset(declare(tmp_path, text))
    block, _, labels = parse(dataset, log)
    assert set(labels.tolist()) == {expected}
    assert block.is_good.all()
    features = FeatureSet.from_dict(dataset.features.to_dict())
    assert set(features.labels({"click": values.split()}).ravel().tolist()) == {expected}


def test_a_bad_label_is_named_with_a_remedy_in_few_reasons(tmp_path, log):
    cells = [*("23" * 3), *"45678", "", "NA", "x" * 99]
    log.write_text("site,price,click\n" + "".join(f"a,1,{cell}\n" for cell in cells))
    block, _, _ = parse(find_dataset(declare(tmp_path, YAML)), log)
    named = [reason.partition(",")[0] for reason in block.reason]
    assert named[:6] == ["label click is '2'", "label click is '3'"] * 3
    assert named.count("label click is another value") == 5
    assert named.count("label click is missing") == 2
    assert len(set(named)) == 5
    assert all(
        'declare what it means, as in label: {column: click, positive: ["yes"]}' in reason
        for reason in block.reason
        if "missing" not in reason
    )
    label = "label: {column: click, positive: ['2', '3'], negative: ['4']}"
    text = YAML.replace("label: click", label)
    block, _, _ = parse(find_dataset(declare(tmp_path, text)), log)
    assert block.is_good.tolist() == [True] * 7 + [False] * 7
    assert block.reason[7].endswith("neither in positive nor in negative: add it to one of them")


def test_strings_of_a_declaration_may_look_like_numbers(tmp_path, log):
    log.write_text("site,price,click\n1e3,0.5,1\n1000,0.5,1\n")
    dataset = find_dataset(declare(tmp_path, YAML.replace("[NA]", "[1e3]")))
    assert parse(dataset, log)[1]["site"] == ["", "1000"]


def test_yaml_weights_are_numbers_of_at_least_0(tmp_path, log):
    log.write_text("site,price,click,cost\na,1,1,2.5\nb,1,0,\na,1,0,-1\nb,1,1,0\nb,1,1,x\n")
    dataset = find_dataset(declare(tmp_path, YAML + "weight: cost\n"))
    assert dataset.features.label.weight == "cost"
    block, columns, _ = parse(dataset, log)
    wrong = "weight cost is not a number of at least 0"
    assert block.reason.tolist() == [None, wrong, wrong, None, "cost is not a number"]
    assert (columns["cost"][0], columns["cost"][3]) == (2.5, 0)


def test_yaml_splits_by_time_key_and_files(tmp_path, log):
    by_time = YAML + "split: {by: time, column: time, validation_from: 2, test_from: 3}"
    dataset = find_dataset(declare(tmp_path, by_time))
    assert dataset.split == TimeSplit("time", 2, 3)
    dates = "validation_from: 2024-05-01, test_from: 2024-06-01 12:00:00, gap: 1d"
    dataset = find_dataset(declare(tmp_path, YAML + f"split: {{by: time, column: time, {dates}}}"))
    assert dataset.split == TimeSplit("time", "2024-05-01", "2024-06-01 12:00:00", "1d")
    by_column = YAML + "split: {by: column, column: time, train: [1, 2], test: [3]}"
    dataset = find_dataset(declare(tmp_path, by_column))
    assert dataset.split == ColumnSplit("time", train=("1", "2"), test=("3",))
    by_key = YAML + "split: {by: random, key: time}"
    dataset = find_dataset(declare(tmp_path, by_key))
    assert dataset.split == RandomSplit(key="time")
    (tmp_path / "test.csv").write_bytes(log.read_bytes())
    by_files = YAML + "split: {by: files, train: l*.csv, test: test.csv}"
    dataset = find_dataset(declare(tmp_path, by_files))
    assert dataset.split == FileSplit("l*.csv", "", "test.csv")
    assert [file.split for file in dataset.files(str(tmp_path))] == ["train", "test"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("weight: cost", {"cost"}),
        ("split: {by: random, key: user}", {"user"}),
        ("split: {by: column, column: fold}", {"fold"}),
        ("split: {by: time, column: t, validation_from: 1, test_from: 2}", {"t"}),
        ("history: {column: site, user: u, item: i, time: t}", {"u", "i", "t"}),
    ],
)
def test_what_a_declaration_names_is_read(tmp_path, text, columns):
    dataset = find_dataset(declare(tmp_path, YAML + text))
    columns |= {"click", "price", "site"} - ({"site"} if "history" in text else set())
    assert set(dataset.table.columns) == columns


def test_a_file_belongs_to_one_split(tmp_path, log):
    by_files = YAML + "split: {by: files, train: '*.csv', test: log.csv}"
    dataset = find_dataset(declare(tmp_path, by_files))
    with pytest.raises(ValueError, match=r"log\.csv cannot be for train and for test, too"):
        dataset.files(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "table"),
    [
        ("format: csv, delimiter: ';', decimal: ','", Delimited(COLUMNS, ";", decimal=",")),
        ("format: tsv, columns: [a]", Delimited(COLUMNS, "\t", False, names=("a",))),
        ("format: csv, encoding: cp1252", Delimited(COLUMNS, encoding="cp1252")),
        ("format: jsonl, encoding: utf-16", JsonLines(COLUMNS, SEPARATORS, "utf-16", OF_WEIGHTS)),
        ("format: parquet", Parquet(COLUMNS, SEPARATORS, OF_WEIGHTS)),
    ],
)
def test_yaml_formats_read_only_what_is_declared(tmp_path, source, table):
    text = YAML.replace("format: csv, missing: [NA]", source)
    text += "  - {kind: multi_valued, name: tags, separator: ' ', weight_separator: '='}\n"
    assert find_dataset(declare(tmp_path, text)).table == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML + "sources: 1", ", line 7: unknown setting 'sources'; did you mean 'source'?"),
        (YAML.replace("label: click", ""), ": label is not given"),
        (
            YAML.replace("label: click", "label: {column: click, positive: [yes]}"),
            r", line 3: positive\[0\] must be a string in quotes .*, got True",
        ),
        (
            YAML.replace("label: click", "label: {column: click, positive: [a], negative: [a]}"),
            ", line 3: 'a' cannot be positive and negative",
        ),
        (
            YAML.replace("label: click", "label: {column: click, negative: [a]}"),
            ", line 3: a label with negative values needs positive ones",
        ),
        (
            YAML.replace("label: click", "label: {colum: click}"),
            ", line 3: unknown setting 'colum'",
        ),
        (
            YAML.replace("csv", "excel"),
            ", line 2: unknown format 'excel'; available: csv, tsv",
        ),
        (
            YAML.replace("missing", "mising"),
            ", line 2: unknown setting 'mising'; did you mean",
        ),
        (YAML.replace("[NA]", "NA"), ", line 2: missing must be a list, got 'NA'"),
        (YAML.replace("min_count", "mincount"), ", line 5: unknown setting 'mincount'; did you me"),
        (YAML.replace("kind: num", "kind: mum"), ", line 6: unknown kind 'mumeric'; did you mean"),
        (YAML.replace("min_count: 2", "min_count: two"), ", line 5: .*min_count must be .*'two'"),
        (
            YAML.replace("min_max", "boundaries, boundaries: 5"),
            ", line 6: .*boundaries must be a list, got 5",
        ),
        (YAML.replace("name: price", "name: site"), ", line 4: 'site' is declared twice"),
        (YAML.replace("csv", "[csv]"), r", line 2: unknown format \['csv'\]; did you mean 'csv'"),
        (YAML + "split: {by: magic}", ", line 7: unknown split 'magic'; available: random, tim"),
        (YAML + "split: {by: random, tests: 1}", "unknown setting 'tests'; did you mean 'test'?"),
        (YAML + "split:\n  by: random\n  seed: x", ", line 9: seed must be an integer, got 'x'"),
        (
            YAML
            + "split: {by: time, column: time, validation_from: 1/2/24, test_from: 2024-02-01}",
            ", line 7: validation_from is no time: '1/2/24'; spell times as YYYY-MM-DD",
        ),
        (YAML + "split: 0.1", ", line 7: split must be keys and values, got 0.1"),
        (YAML + "history: {column: h}", ", line 7: user is not given"),
        (YAML.replace("missing: [NA]", "header: false"), ", line 2: .*`columns` must name"),
        (
            YAML.replace("[NA]", "[0]"),
            r", line 2: missing\[0\] must be a string, got 0; put it in q",
        ),
        (YAML.replace("[NA]", "[2024-05-01]"), "got 2024-05-01; put it in quotes"),
        (YAML + "split: {by: random, key: 7}", ", line 7: key must be a string, got 7; put it in"),
        (YAML.partition("features:")[0] + "features:\n", ", line 4: features is empty"),
        (YAML.partition("features:")[0] + "features: []\n", ", line 4: features is empty"),
        (
            YAML.partition("features:")[0] + "features: [site]\n",
            "features.0. must be keys",
        ),
        (YAML + "split:\n", ", line 7: split is empty"),
        (YAML + "history: {}\n", ", line 7: history is empty"),
        (YAML + "label: other", ", line 7: label is given twice, in line 3 too"),
        (YAML + "split: {by: [random}", ", line 7, column 20: expected ',' or ']', but got '}'"),
        (YAML + "split: {by: a\n", ", line 8, column 1: .*<stream end>', in what begins in line 7"),
        (
            YAML.replace("missing: [NA]", "encoding: utf8x"),
            ", line 2: unknown encoding 'utf8x'; did you mean 'utf8'",
        ),
        (YAML.replace("missing: [NA]", "encoding: hex"), ", line 2: unknown encoding 'hex'"),
        (YAML.replace("missing: [NA]", "decimal: x"), ", line 2: decimal must be .*'x'"),
        (YAML.replace("missing: [NA]", "delimiter: '::'"), ", line 2: .* needs `quoted: false`"),
        (YAML.replace("missing: [NA]", "delimiter: ''"), ", line 2: '' cannot be a delimiter"),
        ("just text", "my.yaml: expected keys and values, got 'just text'"),
    ],
)
def test_wrong_yaml_is_refused(tmp_path, log, text, message):
    with pytest.raises(ValueError, match=message) as error:
        find_dataset(declare(tmp_path, text))
    assert str(error.value).startswith(str(tmp_path / "my.yaml"))
    assert "\n" not in str(error.value)


def test_synthetic_log_is_the_same_for_everyone(synthetic_log, tmp_path):
    from pipeline.datasets.synthetic import write_synthetic_log

    write_synthetic_log(str(tmp_path), ROWS, broken=BROKEN)
    for name in ("part-00000.tsv", "truth.json"):
        assert (tmp_path / name).read_bytes() == (synthetic_log / name).read_bytes()
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert 0.8 < truth["best_auc"] < 0.9
    with pytest.raises(FileExistsError):
        write_synthetic_log(str(tmp_path), 10)


def test_synthetic_truth_agrees_with_an_exact_computation():
    from pipeline.datasets.synthetic import _Truth

    rng = np.random.default_rng(0)
    probability = rng.random(1000)
    label = (rng.random(1000) < probability).astype(int)
    truth = _Truth()
    truth.add(label[:300], probability[:300])
    truth.add(label[300:], probability[300:])
    described = truth.describe()
    positive, negative = probability[label == 1], probability[label == 0]
    auc = (positive[:, None] > negative[None]).mean()
    loss = -np.where(label, np.log(probability), np.log1p(-probability)).mean()
    np.testing.assert_allclose(described["best_auc"], auc, atol=1e-4)
    np.testing.assert_allclose(described["best_log_loss"], loss, rtol=1e-9)
    assert described["click_rate"] == label.mean()
