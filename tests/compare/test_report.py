"""The page that a run leaves of itself."""

import html
import json
import os
import pathlib
import shutil

import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.compare import compare_runs, report
from ctr_keras.compare.page import write_comparison
from ctr_keras.compare.report import write_report
from ctr_keras.training import evaluate_run
from tests.compare.test_runs import prepared
from tests.explain.test_page import Reader

SMALL = ("epochs=1", "batch_size=100", "layers=1", "heads=1", "head_dim=2", "dim=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of AutoInt as the command leaves it."""
    folder = tmp_path_factory.mktemp("report")
    data, out = prepared(folder / "data", 300), str(folder / "run")
    command = ["train", "--data", data, "--model", "AutoInt", "--out", out]
    result = CliRunner().invoke(main, [*command, *(f"--set={one}" for one in SMALL)])
    assert result.exit_code == 0, result.output
    assert f"report: {out}/report.html" in result.stderr
    assert json.loads(result.stdout)["rounds"] == 1  # and nothing else
    return out


def sections(path):
    page = Reader(pathlib.Path(path).read_text())
    return page, [attributes["id"] for tag, attributes in page.tags if tag == "section"]


def test_training_leaves_one_page_that_needs_nothing_else(run):
    page, shown = sections(os.path.join(run, "report.html"))
    assert shown == [
        *("metrics", "learning-curves", "calibration", "roc", "importance"),
        *("attention-interacting_0-mean", "settings"),
    ]
    assert not {"script", "link"} & {tag for tag, _ in page.tags}
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 5
    assert all(source.startswith("data:image/png") for source in images)
    measured = evaluate_run(run)
    assert {f"{measured['auc']:.4g}", f"{measured['log_loss']:.4g}"} <= {*page.text}
    settings = page.text[page.text.index("Settings") :]
    assert settings.index("head_dim") < settings.index("batch_size")


def test_values_of_fields_are_shown_where_they_are_asked_for(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    result = CliRunner().invoke(main, ["report", "--run", str(copy), "--by", "b"])
    assert result.stdout == f"{copy}/report.html\n"
    assert "slices-b" in sections(copy / "report.html")[1]


def test_a_comparison_links_the_reports(run, tmp_path):
    write_comparison(compare_runs([run], replicates=5), str(tmp_path / "page"))
    page, _ = sections(tmp_path / "page" / "index.html")
    (link,) = [of["href"] for tag, of in page.tags if tag == "a" and "report" in of["href"]]
    assert os.path.samefile(tmp_path / "page" / html.unescape(link), f"{run}/report.html")


def test_importance_that_takes_long_is_left_out(run, monkeypatch):
    monkeypatch.setattr(report, "_SECONDS", 1e-6)
    assert "importance" not in sections(write_report(run))[1]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "ctr-keras[plots]"),
        (ValueError("all of label 0"), "no report.html: all of label 0"),
    ],
)
def test_a_page_that_cannot_be_written_fails_no_run(run, tmp_path, monkeypatch, error, says):
    def fail(run):
        raise error

    monkeypatch.setattr(report, "write_report", fail)
    data, out = os.path.join(os.path.dirname(run), "data"), str(tmp_path / "run")
    command = ["train", "--data", data, "--model", "LR", "--out", out, "--set=epochs=1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert says in result.stderr
