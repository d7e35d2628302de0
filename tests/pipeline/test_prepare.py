"""The whole job: nothing lost, nothing half-made, the same result every time."""

import collections
import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from click.testing import CliRunner
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from ctr_keras import files
from ctr_keras.cli import main
from ctr_keras.features import FeatureSet
from pipeline import records as records_room
from pipeline.batches import in_column_order
from pipeline.datasets import find_dataset
from pipeline.datasets.synthetic import BREAKAGES, write_synthetic_log
from pipeline.parsing import lines as lines_room
from pipeline.prepare import TooManyRejectedError, prepare
from pipeline.runners import pipeline_options
from pipeline.splits import SPLITS, RandomSplit
from tests.prepared import BROKEN, ROWS, prepare_once, read_records
from tests.processes import Command

KILLS = int(os.environ.get("CTR_KERAS_KILLS", "1"))  # at random moments


def report_of(folder) -> dict:
    return json.loads((pathlib.Path(folder) / "report.json").read_text())


def records(folder, split: str) -> list[bytes]:
    return read_records(sorted(pathlib.Path(folder, "examples").glob(f"{split}-*")))


def batch_of(records: list[bytes]) -> pa.RecordBatch | None:
    """A list column for each feature."""
    if not records:
        return None
    return in_column_order(ExamplesToRecordBatchDecoder().DecodeBatch(records))


def contents(folder) -> dict[str, bytes]:
    """Every file that must come out the same, by its relative path: TensorFlow writes a graph in
    an order of its own, and the report has times."""
    folder = pathlib.Path(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".pb", ".pbtxt") and path.name != "report.json"
    }


def test_every_row_is_accounted_for(prepared_synthetic):
    rows = report_of(prepared_synthetic)["rows"]
    assert rows["read"] == ROWS
    written = {split: len(records(prepared_synthetic, split)) for split in SPLITS}
    assert written == {split: rows[split] for split in SPLITS}
    rejected = [
        json.loads(line)
        for path in (prepared_synthetic / "rejected").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert len(rejected) == rows["rejected"] == ROWS * BROKEN
    assert sum(written.values()) + len(rejected) == ROWS


def test_rejected_rows_come_with_place_and_true_reason(prepared_synthetic, synthetic_log):
    lines = (synthetic_log / "part-00000.tsv").read_bytes().split(b"\n")
    reasons = collections.Counter()
    for path in (prepared_synthetic / "rejected").iterdir():
        for entry in map(json.loads, path.read_text().splitlines()):
            assert entry["file"] == str(synthetic_log / "part-00000.tsv")
            row = lines[entry["line"] - 1]
            assert entry["row"] == row.decode("utf-8", "backslashreplace")
            breakage = (entry["line"] - 1) % len(BREAKAGES)
            assert entry["reason"] == BREAKAGES[breakage][0]
            reasons[entry["reason"]] += 1
    assert set(reasons) == {reason for reason, _ in BREAKAGES}
    assert dict(reasons) == report_of(prepared_synthetic)["rejected_because"]


def test_records_hold_the_packed_inputs_within_the_id_ranges(prepared_synthetic):
    features = FeatureSet.load(prepared_synthetic / "features.json")
    columns = batch_of(records(prepared_synthetic, "train")).to_pydict()
    assert set(columns) == {"categorical", "numeric", "label"}
    assert {len(numbers) for numbers in columns["numeric"]} == {13}
    assert {tuple(label) for label in columns["label"]} == {(0.0,), (1.0,)}
    ids = np.array(columns["categorical"])
    for column, field in zip(ids.T, features.categorical, strict=True):
        allowed = features.id_ranges[field.name]
        assert all(i == 0 or i in allowed for i in np.unique(column)), field.name


def test_vocabulary_is_counted_on_the_training_split_only(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("t,site,click\n" + "1,seen,1\n" * 5 + "2,later,0\n" * 5 + "3,later,1\n" * 5)
    declaration = tmp_path / "my.yaml"
    declaration.write_text(
        "source: {format: csv}\nlabel: click\n"
        "features: [{kind: categorical, name: site}]\n"
        "split: {by: time, column: t, validation_from: 2, test_from: 3}\n"
    )
    report = prepare(str(declaration), str(log), str(tmp_path / "out"))
    assert report["vocabulary_sizes"] == {"site": 1}
    assert report["label_mean"] == {"train": 1.0, "validation": 0.0, "test": 1.0}
    both = [*records(tmp_path / "out", "train"), *records(tmp_path / "out", "test")]
    assert batch_of(both).column("categorical").to_pylist() == [[2]] * 5 + [[1]] * 5


def test_rows_of_several_lines_come_whole_and_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 200)
    rows = [f'{i % 2},"site\n{i},"' if i % 3 else f'{i % 2},"stray {i}' for i in range(100)]
    log = tmp_path / "day=2024-05-01" / "log.csv"
    log.parent.mkdir()
    log.write_text("click,site\n" + "\n".join(rows) + "\n")
    declaration = tmp_path / "my.yaml"
    declaration.write_text(
        "source: {format: csv}\nlabel: click\n"
        "features: [{kind: categorical, name: site}, {kind: categorical, name: day}]\n"
    )
    report = prepare(str(declaration), str(log), str(tmp_path / "out"), max_rejected=0.4)
    assert report["rows"]["read"] == 100
    assert report["rejected_because"] == {"a quote is not closed": 34}
    assert report["vocabulary_sizes"] == {"site": 0, "day": 1}  # a line break is out of any
    lines = log.read_text().splitlines()
    rejected = [
        json.loads(line)
        for path in (tmp_path / "out" / "rejected").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert len(rejected) == 34
    assert all(lines[entry["line"] - 1] == entry["row"] for entry in rejected)


def test_all_pairs_are_crossed_on_request(tmp_path):
    log = tmp_path / "log.csv"
    rows = (
        ["1,u,x,1"] * 3 + ["1,u,y,0"] * 2 + ["1,v,x,0", "2,u,x,1", "2,v,x,1", "2,v,z,1", "2,,x,1"]
    )
    log.write_text("t,user,item,click\n" + "\n".join(rows) + "\n")
    declaration = tmp_path / "my.yaml"
    declaration.write_text(
        "source: {format: csv}\nlabel: click\n"
        "features: [{kind: categorical, name: user}, {kind: categorical, name: item}]\n"
        "split: {by: time, column: t, validation_from: 2, test_from: 2}\n"
    )
    out = tmp_path / "out"
    report = prepare(str(declaration), str(log), str(out), cross_min_count=2)
    # Of the training pairs (u, x) three times and (u, y) twice are kept, (v, x) is too rare.
    assert report["vocabulary_sizes"] == {"user": 2, "item": 2, "user_x_item": 2}
    start = FeatureSet.load(out / "features.json").id_ranges["user_x_item"].start
    crossed = batch_of(records(out, "test")).column("crossed").to_pylist()
    # (u, x) is first; (v, x) and (v, z) share the OOV id; a pair without its user is missing.
    assert sorted(crossed) == [[0], [start], [start], [start + 1]]


def test_two_percent_of_bad_rows_fail_the_run_and_leave_them_to_see(tmp_path):
    write_synthetic_log(str(tmp_path / "log"), 500, broken=0.02)
    out = tmp_path / "out"
    with pytest.raises(TooManyRejectedError, match=r"10 of 500 rows .*\(2\.00%\).*out\.failed"):
        prepare("synthetic", str(tmp_path / "log"), str(out))
    assert not out.exists()
    assert not (tmp_path / "out.partial").exists()
    failed = tmp_path / "out.failed"
    lines = [line for p in (failed / "rejected").iterdir() for line in p.read_text().splitlines()]
    assert len(lines) == 10
    assert report_of(failed)["rows"]["rejected"] == 10
    prepare("synthetic", str(tmp_path / "log"), str(out), max_rejected=0.02)
    assert out.exists()
    assert not failed.exists()


def test_finished_work_is_not_done_again_nor_overwritten(prepared_synthetic, synthetic_log):
    before = contents(prepared_synthetic)
    report = prepare("synthetic", str(synthetic_log), str(prepared_synthetic))
    assert report == report_of(prepared_synthetic)
    assert contents(prepared_synthetic) == before
    with pytest.raises(FileExistsError, match="min_count of feature C1 was 20 and is 10"):
        prepare("criteo", str(synthetic_log), str(prepared_synthetic))


def test_a_source_is_listed_once(tmp_path, synthetic_log, monkeypatch):
    listed = []

    def find(pattern: str) -> list[files.File]:
        listed.append(pattern)
        return found(pattern)

    found = files.find
    monkeypatch.setattr(files, "find", find)
    monkeypatch.setattr("pipeline.job.run_job", lambda *_: None)  # as if only translated
    prepare("synthetic", str(synthetic_log), str(tmp_path / "out"))
    assert listed == [f"{synthetic_log}/part-*.tsv"]


def test_unknown_folder_in_the_way_is_left_alone(tmp_path, synthetic_log):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="is not a prepared data set"):
        prepare("synthetic", str(synthetic_log), str(tmp_path))


def test_order_of_rows_and_files_does_not_matter_where_a_key_splits_them(tmp_path):
    write_synthetic_log(str(tmp_path / "a"), 1500)
    log = tmp_path / "a" / "part-00000.tsv"
    lines = log.read_bytes().splitlines(keepends=True)
    lines = [line for line in lines if not line.endswith(b"\t\n")]  # a row without its key
    log.write_bytes(b"".join(lines))
    (tmp_path / "b").mkdir()
    for name, part in (("part-1.tsv", lines[1000:]), ("part-2.tsv", lines[:1000][::-1])):
        (tmp_path / "b" / name).write_bytes(b"".join(part))
    dataset = dataclasses.replace(find_dataset("synthetic"), split=RandomSplit(key="C26"))
    outputs = [tmp_path / f"out-{name}" for name in "ab"]
    for name, out in zip("ab", outputs, strict=True):
        prepare(dataset, str(tmp_path / name), str(out))
    # Shards and samples alone are in the order of the rows' places.
    learned = [
        {n: v for n, v in contents(out).items() if not n.startswith(("examples", "samples"))}
        for out in outputs
    ]
    assert len(learned[0]) > 2
    assert learned[0] == learned[1]
    for split in SPLITS:
        rows, others = (batch_of(records(out, split)).to_pylist() for out in outputs)
        assert sorted(map(str, rows)) == sorted(map(str, others))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            ("--direct_running_mode=in_memory", "--direct_num_workers=1"),
            marks=pytest.mark.whole,  # in one thread less can go wrong than in three
        ),
        # With a runner by name, Beam also checks the types of the graph.
        ("--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=3"),
    ],
)
def test_number_of_workers_and_chunks_does_not_matter(
    prepared_synthetic, synthetic_log, tmp_path, monkeypatch, options
):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 2**17)
    monkeypatch.setattr(records_room, "_ROWS_HELD", 1500)
    # If this were in force, Beam would lose some rows between threads.
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1)
    prepare("synthetic", str(synthetic_log), str(tmp_path / "out"), beam_options=options)

    def same(folder) -> dict[str, object]:
        files = contents(folder)
        rejected = [files.pop(name) for name in list(files) if name.startswith("rejected")]
        return {**files, "rejected": sorted(b"".join(rejected).splitlines())}

    assert same(tmp_path / "out") == same(prepared_synthetic)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--runner=DirectRunner"],  # ends in the local one where Prism is not to be had
        ["--runner", "FnApiRunner"],
        ["--runner=fnapirunner"],
        ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
        ["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"],
        ["--runner=InteractiveRunner"],
    ],
)
def test_beam_is_kept_from_periodic_flushes_however_its_runner_is_named(monkeypatch, options):
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
    pipeline_options(options)
    assert worker_handlers.DATA_BUFFER_TIME_LIMIT_MS == 0


def test_killed_run_leaves_nothing_under_the_name_and_the_next_one_finishes(
    prepared_synthetic, synthetic_log, tmp_path
):
    out = tmp_path / "out"
    command = ["prepare", "--dataset", "synthetic", "--source", str(synthetic_log)]
    command += ["--out", str(out)]
    process = Command(*command)
    process.wait_until(lambda: any(tmp_path.glob("out.partial/examples/*")))  # it is writing
    process.kill()
    assert not out.exists()
    assert (tmp_path / "out.partial").exists()
    assert CliRunner().invoke(main, command).exit_code == 0
    assert contents(out) == contents(prepared_synthetic)
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.slow
def test_after_a_kill_at_any_moment_the_next_run_ends_with_the_same_bytes(
    prepared_synthetic, synthetic_log, tmp_path
):
    out = tmp_path / "out"
    command = ["prepare", "--dataset", "synthetic", "--source", str(synthetic_log)]
    command += ["--out", str(out)]
    seconds = report_of(prepared_synthetic)["wall_seconds"]
    expected = contents(prepared_synthetic)
    for moment in np.random.default_rng(0).uniform(0, seconds, KILLS):
        process = Command(*command)
        process.ended(moment)
        process.kill()
        assert not out.exists() or contents(out) == expected
        prepare("synthetic", str(synthetic_log), str(out))
        assert contents(out) == expected, moment
        assert [*tmp_path.iterdir()] == [out]
        shutil.rmtree(out)


# Real data.

REAL = {  # source: rows, columns of `categorical`
    "criteo-head": 8000,
    "criteo-terabyte": 10_000,
    "avazu": 20_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("source", REAL)
def test_real_data_is_complete(real_sources, tmp_path_factory, source):
    dataset = source.removesuffix("-head")
    out = prepare_once(dataset, real_sources[source], tmp_path_factory)
    rows = report_of(out)["rows"]
    assert rows["read"] == REAL[source]
    assert rows["rejected"] == rows["filtered"] == 0
    assert sum(len(records(out, split)) for split in SPLITS) == REAL[source]


@pytest.mark.slow
@pytest.mark.whole  # a part of it is read elsewhere
def test_movielens_has_the_papers_numbers(real_sources, tmp_path_factory):
    source = real_sources["movielens-1m"]
    report = report_of(prepare_once("movielens-1m", source, tmp_path_factory))
    rows = report["rows"]
    assert rows["read"] == 1_000_209
    assert report["filtered_because"] == {"rating is 3": 261_197}
    assert rows["train"] + rows["validation"] + rows["test"] == 739_012
    assert rows["rejected"] == 0
    assert report["id_count"] == pytest.approx(3529, abs=20)  # "features" of the paper's Table 1
