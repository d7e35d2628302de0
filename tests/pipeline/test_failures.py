"""What fails says why in one line, and leaves nothing in the way of the same command."""

import errno
import io
import pathlib

import pytest

from ctr_keras import files
from pipeline import job, records
from pipeline.job import JobError, cause
from pipeline.prepare import prepare
from pipeline.storage import Output
from tests.prepared import ROWS

DECLARATION = """
source: {format: csv}
label: click
features:
  - {kind: categorical, name: site}
  - {kind: numeric, name: price, scale: quantiles, buckets: 2}
"""
WORKERS = """Traceback (most recent call last):
  File "pipeline/batches.py", line 64, in process
ValueError: b.csv: a first error

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in process
{} [while running 'AnalyzedRows/Parse/ParDo(ParseChunk)']
"""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ValueError: b.csv: the header is wrong", "b.csv: the header is wrong"),
        ("RuntimeError: OSError: [Errno 28] no space", "[Errno 28] no space"),
        ("tensorflow.ResourceExhaustedError: a/b; No space left", "a/b; No space left"),
        ("pipeline.sources.SourceError: b.gz is cut off", "b.gz is cut off"),
        ("KeyError: 'site'", "KeyError: 'site'"),
        ("pyarrow.lib.ArrowInvalid: x is no number", "pyarrow.lib.ArrowInvalid: x is no number"),
    ],
)
def test_the_cause_of_a_workers_error_is_one_line(raised, said):
    assert cause(RuntimeError(WORKERS.format(raised))) == said


def test_the_cause_of_any_other_error_is_one_line_too():
    assert cause(ValueError("a\nb")) == "a b"
    assert cause(KeyError("site")) == "KeyError: 'site'"


def test_a_job_that_fails_says_why_and_can_be_run_again(tmp_path, capfd, caplog):
    declaration = tmp_path / "my.yaml"
    declaration.write_text(DECLARATION)
    log = tmp_path / "log"
    log.mkdir()
    rows = "".join(f"s{i % 7},{i % 9},{i % 2}\n" for i in range(200))
    (log / "a.csv").write_text(f"site,price,click\n{rows}")
    broken = log / "b.csv"
    broken.write_text(f"site,price,clic\n{rows}")
    out = tmp_path / "out"

    def run() -> dict:
        return prepare(str(declaration), str(log), str(out))

    with pytest.raises((JobError, ValueError)) as raised:
        run()
    assert str(broken) in str(raised.value)
    assert "click" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert "Traceback" not in capfd.readouterr().err
    assert not out.exists()
    broken.write_text(f"site,price,click\n{rows}")
    assert run()["rows"]["read"] == 400
    assert not caplog.records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "my.yaml", "out"]


def test_the_traceback_and_what_was_printed_are_in_the_file_that_the_error_names(
    synthetic_log, tmp_path, monkeypatch, capfd
):
    def build(self: job.Job, pipeline: object) -> None:
        raise KeyError("site")

    monkeypatch.setattr(job.Job, "build", build)
    with pytest.raises(JobError) as raised:
        prepare("synthetic", str(synthetic_log), str(tmp_path / "out"))
    path = tmp_path / "out.partial" / "traceback.txt"
    assert str(raised.value) == f"KeyError: 'site' (traceback: {path})"
    assert "in build" in path.read_text()
    assert not capfd.readouterr().err


def test_leftovers_of_any_kind_are_cleared_away(tmp_path):
    output = Output(str(tmp_path / "out"))
    for leftover in ("out.partial/examples/a", "out.partial/rejected/b/c", "out.failed/d"):
        path = tmp_path / leftover
        path.parent.mkdir(parents=True)
        path.touch()
    output.begin()
    assert [*tmp_path.iterdir()] == [tmp_path / "out.partial"]
    assert not [*(tmp_path / "out.partial").iterdir()]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    output = Output(str(tmp_path / "file" / "out"))
    with pytest.raises(OSError, match=r"^cannot write to .*/file/out.partial: Not a directory$"):
        output.begin()


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_line_before_the_job_and_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "open_output", lambda path: FullDisk())
    output = Output(str(tmp_path / "out"))
    with pytest.raises(OSError, match=r"^cannot write to .*: No space left on device$"):
        output.begin()
    assert output.keep_traceback(ValueError("the disk is full"), "") == ""


@pytest.mark.slow
def test_a_disk_that_gets_full_in_the_job_is_one_line_and_the_next_run_finishes(
    synthetic_log, tmp_path, monkeypatch
):
    def run() -> dict:
        return prepare("synthetic", str(synthetic_log), str(tmp_path / "out"))

    with monkeypatch.context() as full:
        full.setattr(records, "open_output", lambda path: FullDisk())
        with pytest.raises(JobError) as raised:
            run()
    assert str(raised.value) == (
        f"[Errno 28] No space left on device (traceback: {tmp_path}/out.partial/traceback.txt)"
    )
    assert run()["rows"]["read"] == ROWS
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert files.find(str(tmp_path / "*.csv")) == files.files_below(str(tmp_path)) == []
    assert not files.exists(str(tmp_path / "none"))
    files.delete(str(tmp_path / "none"))
    assert pathlib.Path(tmp_path).exists()
