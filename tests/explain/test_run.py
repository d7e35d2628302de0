"""Explaining runs: which pictures there are, and what the folder holds whatever happens."""

import dataclasses
import io
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ctr_keras.cli import main
from ctr_keras.explain import Explainer, explain_run, page, run
from ctr_keras.explain import folder as page_folder
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search.closing import Tried
from ctr_keras.search.verdict import Course, of_gates
from ctr_keras.training import load_run, predict_split
from tests.data.shards import write_prepared
from tests.explain.runs import FEATURES, write_run, write_search

ROWS = {"train": 300, "validation": 10, "test": 200}
GATES = InteractionPlan(
    [
        Interaction(("a", "b"), "inner", 0.7),
        Interaction(("row", "genres"), "outer", -0.2),
        Interaction(("a", "b", "genres"), "inner", 0.3),
    ]
)
WIDTHS = InteractionPlan(GATES.interactions, {"inner_2": {"a": [0, 2]}})
METHODS = InteractionPlan([Interaction(("a", "b"), "factorize", 0.9)])
GATE_NAMES = ["gates-inner_2", "gates-outer_2", "gates-inner_3"]
STATISTICS_NAMES = ["statistics-inner_2", "statistics-outer_2"]
ATTENTION = {"embeddings_initializer": 0.01, "dim": 4, "layers": 1, "head_dim": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", ROWS, FEATURES)


@pytest.fixture(scope="module")
def search(data, tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("runs") / "search", data, "optinter", METHODS)


FRAME = {  # of the sizes of FEATURES
    "a": ["x", "y"],
    "b": ["u", "v"],
    "row": [0.0, 1.0],
    "genres": ["1|2", "3|4"],
    "history": ["x", "y"],
}


def names_of(paths):
    return [pathlib.Path(path).stem for path in paths]


def check_files(paths, out):
    """All are there, the pictures are PNG files, the page holds all of them."""
    assert sorted(paths) == sorted(str(path) for path in pathlib.Path(out).iterdir())
    *images, index = map(pathlib.Path, paths)
    text = index.read_text()
    assert index.name == "index.html"
    assert text.count("data:image/png;base64,") == len(images)
    for path in images:
        Image.open(io.BytesIO(path.read_bytes())).verify()
        assert f'id="{path.stem}"' in text
    return text


@pytest.mark.parametrize("command", ["explain", "importance", "embeddings", "explain a search"])
def test_data_that_have_moved_are_named(command, data, tmp_path):
    command, *of_search = command.split(maxsplit=1)
    moved = pathlib.Path(shutil.copytree(data, tmp_path / "moved"))
    FEATURES.fit(FRAME).save_fitted(moved)
    if of_search:
        subject = write_search(tmp_path / "subject", "gone", "autofis", GATES)
    else:
        subject = write_run(tmp_path / "subject", "gone", "AutoInt", **ATTENTION)
    arguments = [command, "--run", subject, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.output == (
        f"Error: {subject} was trained on gone, which is not there: name its prepared data by "
        "--data\n"
    )
    result = CliRunner().invoke(main, [*arguments, "--data", str(moved)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("method", "plan", "expected"),
    [
        ("autofis", GATES, GATE_NAMES + STATISTICS_NAMES),
        ("aim", WIDTHS, [*GATE_NAMES, "widths", *STATISTICS_NAMES]),
        ("optinter", METHODS, ["methods", "methods-information"]),
    ],
)
def test_pictures_of_a_search(method, plan, expected, data, tmp_path):
    folder = write_search(tmp_path / "search", data, method, plan)
    out = tmp_path / "out"
    paths = explain_run(folder, str(out))
    assert names_of(paths) == [*expected, "index"]
    text = check_files(paths, out)
    assert method in text
    assert all(f"<td>{name}</td>" in text for name in ("a", "b"))


@pytest.mark.parametrize(
    ("model", "arguments", "expected"),
    [
        ("AutoInt", ATTENTION, ["attention-interacting_0-case", "attention-interacting_0-mean"]),
        ("MIAN", {"dim": 4, "heads": 2, "hidden": [4]}, ["global-weights"]),
        ("FM", {"dim": 4, "interactions": GATES}, GATE_NAMES + STATISTICS_NAMES),
        ("IPNN", {"dim": 4, "interactions": GATES}, GATE_NAMES + STATISTICS_NAMES),
        ("OptInter", {"dim": 4, "interactions": METHODS}, ["methods", "methods-information"]),
        (
            "AIM",
            {"dim": 4, "interactions": WIDTHS},
            [*GATE_NAMES, "widths", *STATISTICS_NAMES],
        ),
    ],
)
def test_pictures_of_a_trained_model(model, arguments, expected, data, tmp_path):
    if "interactions" in arguments:
        plan = str(tmp_path / "plan.json")
        arguments["interactions"].save(plan)
        arguments = arguments | {"interactions": plan}
    folder = write_run(tmp_path / "run", data, model, **arguments)
    paths = explain_run(folder, str(tmp_path / "out"), rows=150)
    assert names_of(paths) == [*expected, "index"]
    assert model in check_files(paths, tmp_path / "out")


def test_pictures_of_how_a_search_went_and_of_another_ones_plan(data, tmp_path):
    folder = write_search(tmp_path / "search", data, "autofis", GATES)
    course = Course(["a x b, inner", "a x row, inner"], np.array([[0.6, 0.6], [0.7, 0.1]]))
    kept = [{"fields": ["a", "b"], "function": "inner", "gate": 0.7, "effect": 0.02}]
    tried = [Tried(0, 0.69, 0.02, 0.001), Tried(1, 0.67, 0.0, 0.0), Tried(2, 0.67, 0.0, 0.001)]
    verdict = of_gates(1, course, np.array([True, False]), tried, "")
    dataclasses.replace(verdict, kept=kept).save(folder, course)
    other = write_search(tmp_path / "other", data, "optinter", METHODS)
    paths = explain_run(folder, str(tmp_path / "out"), other=other)
    assert names_of(paths) == [
        "agreement",
        *GATE_NAMES,
        *STATISTICS_NAMES,
        "rounds-1",
        "closing-1",
        "effects-1",
        "index",
    ]
    text = check_files(paths, tmp_path / "out")
    assert "keeps 1 of 2 gates" in text
    assert "search and other: 1 interactions in both plans" in text


def test_attention_is_that_of_the_case_and_the_mean_of_the_rows(data, tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    folder = write_run(tmp_path / "run", data, "AutoInt", **ATTENTION)
    model, features, config = load_run(folder)
    model.set_weights([10 * values for values in model.get_weights()])  # or all rows look alike
    model.save(os.path.join(folder, "model.keras"))
    inputs, _ = run.read_rows(data, "test", features, 120)
    ids = inputs["categorical"]
    case = int(np.flatnonzero((ids != ids[0]).all(axis=1))[0])
    drawn = {}
    monkeypatch.setattr(run, "write_page", lambda out, title, facts, given: drawn.update(all=given))
    explain_run(folder, str(tmp_path / "out"), rows=120, case=case)
    of_case, mean = drawn["all"]

    labels, scores = predict_split(model, features, config.data, "test")
    (weights,) = np.swapaxes(Explainer(model, features)(inputs)["attention"], 0, 1)
    assert abs(weights[case] - weights[0]).max() > 0.01
    where = f"row {case} of the test split (label {labels[case]:.0f}, score {scores[case]:.3f})"
    assert where in of_case.title
    assert "mean of 120 test rows" in mean.title
    names = features.field_names
    for picture, expected in ((of_case, weights[case]), (mean, weights.mean(axis=0))):
        assert len(picture.rows) == len(names) ** 2
        for first, second, *heads in picture.rows:
            expected_heads = expected[:, names.index(first), names.index(second)]
            np.testing.assert_allclose(heads, expected_heads, atol=1e-5)


def test_gates_are_those_of_the_trained_model_not_of_its_plan(data, tmp_path):
    GATES.save(tmp_path / "plan.json")
    plan = str(tmp_path / "plan.json")
    folder = write_run(tmp_path / "run", data, "FM", dim=4, interactions=plan)
    model = load_run(folder)[0]
    model.get_layer("inner_2").gates.assign([-0.125])
    model.save(os.path.join(folder, "model.keras"))
    paths = explain_run(folder, str(tmp_path / "out"))
    assert (
        '<td>a</td><td>b</td><td class="number">-0.125</td>' in pathlib.Path(paths[-1]).read_text()
    )


def test_an_earlier_explanation_is_replaced_as_a_whole(search, tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is no obstacle
    explain_run(search, f"{out}/")
    (out / "stale.png").write_bytes(b"")
    check_files(explain_run(search, str(out)), out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", ["<html>another's page</html>", None])
def test_what_others_wrote_stays(search, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    if content is None:
        (out / "notes.txt").write_text("dear diary")
    else:
        (out / "index.html").write_text(content)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ValueError, match="holds something that is not an explanation"):
        explain_run(search, str(out))
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_is_not_overwritten_by_its_pictures(search):
    with pytest.raises(ValueError, match="choose another folder"):
        explain_run(search, search)


def test_a_failure_leaves_what_was_there(search, tmp_path, monkeypatch):
    out = tmp_path / "out"
    explain_run(search, str(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*args):
        raise RuntimeError("no ink")

    monkeypatch.setattr(page, "render_page", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        explain_run(search, str(out))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_model_with_nothing_to_show_is_told_what_has(data, tmp_path):
    folder = write_run(tmp_path / "run", data, "FNN", dim=4, hidden=[4])
    with pytest.raises(
        ValueError, match=r"nothing to show.*OptInter's methods.*AutoInt's attention"
    ):
        explain_run(folder, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("rows", "case"), [(0, 0), (10, 10), (10, -1), (1000, 200)])
def test_rows_that_are_not_there(search, tmp_path, rows, case):
    with pytest.raises(ValueError, match="case"):
        explain_run(search, str(tmp_path / "out"), rows, case)


def test_a_folder_without_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a finished search nor a run"):
        explain_run(str(tmp_path), str(tmp_path / "out"))


def test_other_data_are_refused(search, data, tmp_path):
    other = FEATURES.with_vocabulary_sizes({"a": 2, "b": 2, "genres": 5})
    other.save(pathlib.Path(search) / "features.json")
    with pytest.raises(ValueError, match="prepared with other features"):
        explain_run(search, str(tmp_path / "out"))
    FEATURES.save(pathlib.Path(search) / "features.json")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named(search, tmp_path, monkeypatch, package):
    find = page_folder.importlib.util.find_spec
    monkeypatch.setattr(
        page_folder.importlib.util,
        "find_spec",
        lambda name: None if name == package else find(name),
    )
    with pytest.raises(ModuleNotFoundError, match=rf"{package}: pip install 'ctr-keras\[plots\]'"):
        explain_run(search, str(tmp_path / "out"))
