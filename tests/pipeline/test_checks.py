"""What is seen of a source before a job starts."""

import gzip
import subprocess
import sys

import pytest

from pipeline.checks import check_source
from pipeline.datasets import find_dataset
from pipeline.sources import SourceError
from tests.conftest import ROOT

YAML = """
source: {format: csv}
label: click
features: [{kind: categorical, name: site}]
split: {by: random, key: user}
"""


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "my.yaml").write_text(YAML)
    return find_dataset(str(tmp_path / "my.yaml"))


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs" / "country=de"
    folder.mkdir(parents=True)
    (folder / "1.csv").write_text("user,site,click\na,x,1\nb,y,0\n")
    (folder / "2.csv.gz").write_bytes(gzip.compress(b"click,more,site,user\n1,2,x,a\n"))
    (folder / "3.csv").write_text("")
    return folder


def refusal(dataset, source) -> str:
    with pytest.raises(SourceError) as error:
        check_source(dataset, str(source), dataset.files(str(source)))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_with_the_columns_pass_in_any_order(dataset, logs):
    check_source(dataset, str(logs), dataset.files(str(logs)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("users,site,click\na,x,1\n", "/2.csv has no column 'user'; did you mean 'users'?"),
        ("a,x,1\nb,y,0\n", "/2.csv has no column 'click'; available: a, x, 1"),
        ("user,site,click,click\n", "/2.csv has 2 columns named 'click': rename all but one"),
        ("\x1f\x8b", "/2.csv has no column 'click'"),
    ],
)
def test_every_file_is_looked_at(dataset, logs, data, message):
    (logs / "2.csv").write_text(data)
    assert message in refusal(dataset, logs)


def test_files_that_cannot_be_read_are_named(dataset, logs):
    (logs / "2.csv.gz").write_text("user,site,click\n")
    assert "/2.csv.gz is cut off, damaged or not compressed: " in refusal(dataset, logs)
    (logs / "2.csv.gz").unlink()
    (logs / "4.csv").symlink_to(logs / "4.csv")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        check_source(dataset, str(logs / "4.csv"), dataset.files(str(logs / "4.csv")))


def test_a_label_that_no_row_has_is_told_before_the_job(dataset, logs):
    (logs / "1.csv").write_text("user,site,click\n" + "a,x,5\n" * 3 + "b,y\n")
    message = refusal(dataset, logs)
    assert "/1.csv: none of the first 4 rows is good: 3 x label click " in message
    assert message.endswith(", 1 x expected 3 columns, got 2")
    (logs / "1.csv").write_text("user,site,click\na,x,5\nb,y,1\n")
    check_source(dataset, str(logs), dataset.files(str(logs)))


def test_bad_rows_before_a_stray_quote_are_not_all_that_is_looked_at(dataset, logs):
    (logs / "1.csv").write_text('user,site,click\na,x,5\na,"x,1\na,x,1\n')
    check_source(dataset, str(logs), dataset.files(str(logs)))


@pytest.mark.parametrize(
    "declared",
    [
        "split: {by: time, column: user, validation_from: 2024-05-01, test_from: 2024-06-01}",
        "split: {by: column, column: user, train: [x], test: [y]}",
        "split: {by: last, user: site, time: user}",
        "history: {column: seen, user: site, item: site, time: user}",
    ],
)
def test_a_split_or_an_order_that_no_row_has_is_told_before_the_job(tmp_path, logs, declared):
    (tmp_path / "my.yaml").write_text(YAML.replace("split: {by: random, key: user}", declared))
    message = refusal(find_dataset(str(tmp_path / "my.yaml")), logs)
    assert "/1.csv: none of the first 2 rows is good: 1 x user is 'a', which " in message


def test_checks_need_neither_beam_nor_tensorflow(dataset, logs, tmp_path):
    code = (
        "import sys\n"
        "from pipeline.checks import check_source\n"
        "from pipeline.datasets import find_dataset\n"
        f"dataset = find_dataset({str(tmp_path / 'my.yaml')!r})\n"
        f"check_source(dataset, {str(logs)!r}, dataset.files({str(logs)!r}))\n"
        "assert not sys.modules.keys() & {'apache_beam', 'tensorflow', 'keras'}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
