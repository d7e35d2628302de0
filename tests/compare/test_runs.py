"""Benches and comparisons of small runs: what is trained, what is one row, what is refused."""

import json
import os
import pathlib
import shutil

import pytest

from ctr_keras.compare import Bench, bench, compare_runs, run_bench, to_markdown
from ctr_keras.compare.page import write_comparison
from ctr_keras.compare.runs import Scored, by_settings
from ctr_keras.partitions import rows_digest
from ctr_keras.training import evaluate_run, train
from tests.data.shards import FEATURES, write_prepared
from tests.explain.test_page import Reader

pytest.importorskip("lightgbm")

FRAME = {
    "a": ["x", "y"],
    "b": ["no", "yes"],
    "row": [0.0, 1.0],
    "genres": ["1|2", "3|4"],
    "history": ["x", "y"],
}
OVERRIDES = (
    *("epochs=2", "learning_rate=0.05", "LightGBM.num_threads=1", "LightGBM.num_iterations=8"),
    "LightGBM.min_data_in_leaf=5",
)


def prepared(folder: pathlib.Path, test_rows: int) -> str:
    data = write_prepared(folder, {"train": 500, "validation": 200, "test": test_rows})
    fitted = FEATURES.fit(FRAME)
    assert fitted == FEATURES
    fitted.save_fitted(data)
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("data") / "prepared", 300)


@pytest.fixture(scope="module")
def small_bench(data, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("bench"))
    return Bench(data, ["LR", "GBDTLR", "LightGBM"], out, 2, OVERRIDES)


@pytest.fixture(scope="module")
def trained(small_bench):
    """The folders of the bench's runs, and what it tells."""
    lines = []
    finished, failed = run_bench(small_bench, lines.append)
    assert not failed
    return finished, lines


@pytest.fixture(scope="module")
def comparison(trained):
    return compare_runs(trained[0], by=["b"], replicates=50)


def test_trees_come_before_the_models_on_them_and_first_seeds_before_others(small_bench):
    configs = [(config.model, config.seed) for config in small_bench.configs()]
    models = ("LightGBM", "LR", "GBDTLR")
    assert configs == [(model, seed) for seed in (0, 1) for model in models]


def test_a_line_tells_of_each_run(trained):
    finished, lines = trained
    assert len(lines) == len(finished) == 6
    assert lines[0].startswith("[1/6] ")
    assert "LightGBM/seed-0: validation AUC 0." in lines[0]


def test_given_again_it_trains_nothing(small_bench, trained):
    files = [os.path.join(folder, "model.keras") for folder in trained[0]]
    before = [os.stat(path).st_mtime_ns for path in files]
    assert run_bench(small_bench, str) == (trained[0], {})
    assert [os.stat(path).st_mtime_ns for path in files] == before


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])  # the last one says all in a line
def test_a_run_that_fails_does_not_lose_the_others(kind, data, tmp_path, monkeypatch, capsys):
    def fail_for_lr(config):
        if config.model == "LR":
            raise kind("out of\nluck")
        return train(config)

    monkeypatch.setattr(bench, "train", fail_for_lr)
    small = Bench(data, ["LR", "LightGBM"], str(tmp_path), 1, OVERRIDES[2:])
    finished, failed = run_bench(small, print)
    assert finished == [str(tmp_path / "LightGBM" / "seed-0")]
    assert failed == {str(tmp_path / "LR" / "seed-0"): f"{kind.__name__}: out of luck"}
    told = capsys.readouterr()
    assert f"seed-0 failed: {kind.__name__}: out of luck" in told.out
    assert ("Traceback" in told.err) == (kind is RuntimeError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["LR", "Deepfmm"]}, "unknown model 'Deepfmm'; did you mean 'DeepFM'"),
        ({"models": ["LR", "LR"]}, "LR is given twice"),
        ({"models": []}, "there is no model"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"overrides": ["heads=2"]}, "no model here has a setting 'heads'"),
        ({"overrides": ["FM.dim=2"]}, "FM is not trained; available: LR"),
        ({"overrides": ["LR.dim=2"]}, "unknown setting 'dim'"),
        ({"overrides": ["seed=3"]}, "seed is an option of its own"),
    ],
)
def test_what_cannot_be_trained_is_named_first(changes, message, tmp_path):
    given = {"data": "d", "models": ["LR"], "out": str(tmp_path / "out"), **changes}
    with pytest.raises(ValueError, match=message):
        Bench(**given)
    assert not (tmp_path / "out").exists()


def test_settings_know_models_by_any_spelling(tmp_path):
    bench = Bench("d", ["AutoInt+", "LR"], str(tmp_path), 1, ["autoint+.layers=2"])
    assert [config.model_args for config in bench.configs()] == [{"layers": 2}, {}]


def test_runs_of_other_seeds_are_one_row_and_the_best_comes_first(comparison):
    names = [entry.name for entry in comparison.entries]
    assert sorted(names) == ["GBDTLR", "LR", "LightGBM"]
    assert names[-1] == "LR"  # a click is an exclusive or
    assert all(entry.seeds == [0, 1] for entry in comparison.entries)
    assert comparison.best.differences is None
    assert all(entry.differences["auc"].high < 0 for entry in comparison.entries[-1:])


def test_metrics_are_those_of_evaluate(comparison):
    for entry in comparison.entries:
        for place, run in enumerate(entry.runs):
            measured = evaluate_run(run.folder)
            for metric, values in entry.values.items():
                assert values[place] == pytest.approx(measured[metric], rel=1e-6)
        low, high = entry.intervals["auc"]
        assert low < entry.mean("auc") < high


def test_slices_are_those_of_evaluate(comparison):
    entry = comparison.best
    measured = evaluate_run(entry.runs[0].folder, by=["b"])["slices"]["b"]
    assert [(v, n) for v, n, _ in entry.slices["b"]] == [(m["value"], m["rows"]) for m in measured]
    other = evaluate_run(entry.runs[1].folder, by=["b"])["slices"]["b"]
    means = [(x["auc"] + y["auc"]) / 2 for x, y in zip(measured, other, strict=True)]
    assert [auc for *_, auc in entry.slices["b"]] == pytest.approx(means)


def test_all_numbers_go_to_json_and_the_tables_to_markdown(comparison):
    read = json.loads(json.dumps(comparison.to_dict()))
    assert read["best"] == comparison.best.name
    assert [entry["name"] for entry in read["entries"]] == [e.name for e in comparison.entries]
    assert read["entries"][0]["differences_to_best"] is None
    assert set(read["entries"][1]["differences_to_best"]["auc"]) >= {"low", "t_test_p_value"}
    lines = to_markdown(comparison).splitlines()
    best = comparison.best
    (row,) = [line for line in lines if line.startswith(f"| {best.name} | 2 |")]
    assert f"| {best.mean('auc'):.4f} | {best.deviation('auc'):.4f} |" in row
    assert sum(line.startswith("| LR | AUC | -0.") for line in lines) == 1
    assert "AUC by b:" in lines


def test_one_page_needs_nothing_else(comparison, tmp_path):
    out = tmp_path / "page"
    paths = write_comparison(comparison, str(out))
    assert {os.path.basename(path) for path in paths} == {path.name for path in out.iterdir()}
    page = Reader((out / "index.html").read_text())
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == [
        *("metrics", "differences", "learning-curves", "calibration", "roc", "slices-b", "costs")
    ]
    assert not {"script", "link"} & {tag for tag, _ in page.tags}
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert all(source.startswith("data:image/png") for source in images)
    assert json.loads((out / "comparison.json").read_text()) == comparison.to_dict()
    write_comparison(comparison, str(out))  # replaced
    with pytest.raises(ValueError, match="holds something that is not a comparison"):
        write_comparison(comparison, str(tmp_path))


def test_one_run_alone_is_a_comparison(trained, tmp_path):
    alone = compare_runs(trained[0][:1], split="validation", replicates=5)
    assert "Differences" not in to_markdown(alone)
    assert alone.best.deviation("auc") is None
    write_comparison(alone, str(tmp_path / "page"))


def test_runs_on_other_data_are_refused(data, trained, tmp_path):
    other = prepared(tmp_path / "other", 299)
    run = pathlib.Path(shutil.copytree(trained[0][0], tmp_path / "run"))
    config = (run / "config.yaml").read_text()
    config = config.replace(data, other).replace(rows_digest(data), rows_digest(other))
    (run / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=r"a run on .*other.*: compare runs on the same data"):
        compare_runs([trained[0][0], str(run)])


def test_runs_whose_data_have_moved_are_compared_on_what_is_named(trained, data, tmp_path):
    copy = shutil.copytree(trained[0][0], tmp_path / "copy")
    path = copy / "config.yaml"
    path.write_text(path.read_text().replace(data, "gone"))
    runs = [str(copy), trained[0][1]]
    with pytest.raises(FileNotFoundError, match=f"{copy} was trained on gone, .* by --data$"):
        compare_runs(runs)
    found = compare_runs(runs, replicates=20, data=data)
    assert found.data == data
    assert len(found.entries) == 2


def test_the_same_run_twice_is_refused(trained, tmp_path):
    copy = shutil.copytree(trained[0][0], tmp_path / "copy")
    with pytest.raises(ValueError, match="are the same run: all settings are the same, seed 0"):
        compare_runs([trained[0][0], str(copy)])
    with pytest.raises(ValueError, match="is given twice"):
        compare_runs([trained[0][0]] * 2)


@pytest.mark.parametrize("end", ["", "/", "/trees.json"])
def test_trees_that_are_not_where_their_path_leads_are_one_model_by_seed(end):
    def run(trees, seed):
        settings = {"model": "GBDTLR", "seed": seed, "model_args": {"trees": f"{trees}{end}"}}
        return Scored(f"{trees} {seed}", settings, [], 0, None)

    trees = "moved/LightGBM/seed-{}".format
    assert len(by_settings([run(trees(0), 0), run(trees(1), 1), run(trees(12), 12)])) == 1
    others = [run("moved/other/seed-3", 3), run(trees(1), 4), run("moved/LightGBM", 5)]
    assert len(by_settings([run(trees(0), 0), *others])) == 4


def test_rows_of_one_model_are_named_by_what_differs():
    def run(folder, **settings):
        settings = {"model": "FM", "seed": 0, "out": folder, "epochs": 2, **settings}
        return Scored(folder, settings, [], 0, None)

    runs = [
        run("a", model_args={"dim": 4}),
        run("b", model_args={"dim": 8}),
        run("c", model_args={"dim": 8}, seed=1),
        run("d", model_args={"dim": 8}, epochs=3),
        run("e", model="LR", model_args={}),
    ]
    found = {name: [one.folder for one in members] for name, members in by_settings(runs).items()}
    assert found == {
        "FM epochs=2 dim=4": ["a"],
        "FM epochs=2 dim=8": ["b", "c"],
        "FM epochs=3 dim=8": ["d"],
        "LR": ["e"],
    }
