"""Predictions of our models and others: what is kept, what is trained again, what goals say."""

import doctest
import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from benchmarks.predictions import __main__ as command
from benchmarks.predictions import training
from benchmarks.predictions.jobs import Job, Kept, Trained, jobs_of
from benchmarks.predictions.peer import peer_rows
from benchmarks.predictions.report import Values, _ranks, goals, report
from ctr_keras.data import open_examples, read_rows
from ctr_keras.training import read_config
from tests.data.shards import FEATURES, write_prepared

pytest.importorskip("lightgbm")

ROWS = {"train": 400, "validation": 150, "test": 200}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_prepared(folder / "tiny", ROWS)
    return folder


def short_config(path, overrides, **given):
    """The settings of a run that is over soon."""
    short = "num_threads=1" if given["model"] == "LightGBM" else "epochs=2"
    return read_config(path, (*overrides, short), **given)


@pytest.fixture
def invoke(logs, monkeypatch):
    """The command on the tiny log; runs are short, and the CPUs of the tests stay as they are."""
    monkeypatch.setattr(command.os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(training, "read_config", short_config)

    def call(out, *options):
        given = ["--data", str(logs), "--out", str(out), *options]
        return CliRunner().invoke(command.main, given, catch_exceptions=False)

    return call


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def lines_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_examples_run():
    results = doctest.testmod(training)
    assert results.attempted > 0
    assert results.failed == 0


def test_jobs_are_kept_and_not_done_again_and_one_that_fails_stops_no_other(
    out, logs, invoke, monkeypatch
):
    monkeypatch.setattr(command, "environment_python", lambda *_: str(logs / "no-python"))
    models = ("--models", "FuxiCTR:LR,LR,LightGBM")
    result = invoke(out, *models, "--seeds", "1")
    failed, lr, trees = lines_of(out)
    assert (failed["model"], failed["seed"]) == ("FuxiCTR:LR", 0)
    assert "no-python" in failed["error"]
    assert "failed: FuxiCTR:LR on tiny, seed 0: FileNotFoundError" in result.stdout
    for line in (lr, trees):
        assert 0.4 < line["auc"] <= 1
        assert 0 < line["seconds_to_best"] <= line["seconds"]
        assert line["evaluations"] > 0
        assert line["validation_log_loss"] > 0

    invoke(out, *models, "--seeds", "2")
    again = [(line["model"], line["seed"]) for line in lines_of(out)[3:]]
    assert again == [("FuxiCTR:LR", 0), ("FuxiCTR:LR", 1), ("LR", 1), ("LightGBM", 1)]

    labels, scores = Kept(out).scores(Job("tiny", "LR", 0))
    assert labels.shape == scores.shape == (ROWS["test"],)
    assert scores.mean() / labels.mean() == pytest.approx(lr["calibration_ratio"], rel=1e-4)

    monkeypatch.setattr(command, "run", None)  # a report trains nothing
    reported = invoke(out, "--report").stdout
    assert "| model | tiny |" in reported
    aucs = [line["auc"] for line in lines_of(out) if line["model"] == "LightGBM"]
    assert f"| LightGBM | {np.mean(aucs):.4f} +/- {np.std(aucs, ddof=1):.4f} / " in reported


def test_trees_are_tuned_by_random_trials_that_are_not_made_again(tmp_path, invoke, monkeypatch):
    monkeypatch.setattr(training, "_FINALS", 1)
    options = ("--models", "LightGBM", "--trials", "2", "--seeds", "1")
    result = invoke(tmp_path, *options)
    assert result.stdout.startswith("## Best of 2 trials")
    (line,) = lines_of(tmp_path)
    assert (line["seed"], line["trials"]) == (1, 2)
    folder = tmp_path / "runs" / Job("tiny", "LightGBM", 1, 2).folder
    trials = [json.loads(one) for one in (folder / "trials.jsonl").read_text().splitlines()]
    assert len(trials) == 3
    assert trials[0]["settings"] == {}
    assert line["settings"] == max(trials, key=lambda one: one["gain"])["settings"]

    (folder / "tuned.json").unlink()
    (tmp_path / "results.jsonl").unlink()
    invoke(tmp_path, *options)
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 3
    assert lines_of(tmp_path)[0]["settings"] == line["settings"]


def test_a_model_on_trees_stands_on_those_of_its_seed(tmp_path, invoke):
    invoke(tmp_path, "--models", "GBDTLR", "--seeds", "1")
    assert "LightGBM" in lines_of(tmp_path)[0]["error"]  # there are no trees yet
    invoke(tmp_path, "--models", "LightGBM,GBDTLR", "--seeds", "1")
    line = lines_of(tmp_path)[-1]
    assert line["model"] == "GBDTLR"
    assert "settings" not in line
    folder = tmp_path / "runs" / "tiny" / "GBDTLR" / "trials-0" / "seed-0"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model_args"]["trees"].endswith("tiny/LightGBM/trials-0/seed-0")


def test_an_unknown_model_is_refused(tmp_path, invoke):
    result = invoke(tmp_path, "--models", "LR,DepFM")
    assert result.exit_code == 2
    assert "unknown model 'DepFM'; did you mean 'DeepFM'" in result.output


def test_models_are_known_by_any_spelling():
    jobs = jobs_of(["tiny"], ["AutoInt+", "fuxictr:deepfm"], seeds=1, trials=0)
    assert [job.model for job in jobs] == ["AutoIntPlus", "FuxiCTR:DeepFM"]


def test_the_peer_gets_ids_of_each_field_and_lists_but_no_sequences(logs):
    rows = peer_rows(str(logs / "tiny"))
    count = open_examples(str(logs / "tiny"), "test", FEATURES).count
    inputs, labels = read_rows(str(logs / "tiny"), "test", FEATURES, count)
    specifications = json.loads(rows["features"])
    kinds = [specification["type"] for specification in specifications]
    assert kinds == ["categorical", "categorical", "numeric", "sequence"]
    assert [one.get("vocab_size") for one in specifications] == [4, 4, None, 6]
    assert json.loads(rows["left_out"]) == ["history"]
    np.testing.assert_array_equal(rows["test/label"], labels[:, 0])
    # Id 1 is the field's OOV id: global ids start from 1 for `a`, from 4 for `b`, 7 for `genres`.
    np.testing.assert_array_equal(rows["test/0"], inputs["categorical"][:, 0])
    np.testing.assert_array_equal(rows["test/1"], inputs["categorical"][:, 1] - 3)
    np.testing.assert_array_equal(rows["test/2"], inputs["numeric"][:, 0])
    genres = inputs["genres"]
    assert (genres == 0).any()
    np.testing.assert_array_equal(rows["test/3"], np.where(genres == 0, 0, genres - 6))


def test_numbers_are_standardized_by_the_training_split(logs):
    plain, standard = (
        peer_rows(str(logs / "tiny"), standardized=standardized) for standardized in (False, True)
    )
    train = plain["train/2"]
    for split in ("train", "test"):
        expected = (plain[f"{split}/2"] - train.mean()) / train.std()
        np.testing.assert_allclose(standard[f"{split}/2"], expected, atol=1e-5)
        np.testing.assert_array_equal(standard[f"{split}/0"], plain[f"{split}/0"])


def values(of_models):
    """Results on one log: by model the AUC by seed, and other numbers where they are given."""
    defaults = {"log_loss": 0.5, "calibration_ratio": 1.0, "seconds": 2.0, "seconds_to_best": 1.0}
    return Values(
        {
            Job("log", model, seed): {"auc": auc, **defaults, **others}
            for model, (aucs, others) in of_models.items()
            for seed, auc in enumerate(aucs)
        },
        trials=0,
    )


def verdicts(found):
    """Whether the goals are met, and the lines that say where they are not."""
    lines = list(found)
    return [line.endswith(": met") for line in lines if line.startswith("- ")], [
        line.strip(" -") for line in lines if line.startswith("  - ")
    ]


def test_goals_are_met():
    met = values({"LR": ([0.7], {}), "FM": ([0.695], {}), "LightGBM": ([0.69], {})})
    assert verdicts(goals(met, {"log": 0.01})) == ([True, True, True, True], [])


def test_goals_say_what_is_below_lr_by_more_than_its_interval():
    below = values({"LR": ([0.7, 0.71], {}), "FM": ([0.69, 0.69], {}), "DeepFM": ([0.696], {})})
    is_met, misses = verdicts(goals(below, {"log": 0.01}))
    assert is_met == [False, True, True]
    assert misses == ["log: FM is 0.0150 below LR in AUC, over 0.0100"]


@pytest.mark.parametrize("ratio", [0.949, 1.051])
def test_goals_say_what_is_miscalibrated(ratio):
    off = values({"FM": ([0.7], {"calibration_ratio": ratio}), "LightGBM": ([0.7], {})})
    is_met, misses = verdicts(goals(off, {}))
    assert is_met == [False, True, True]
    assert misses == [f"log: FM has {ratio}"]


def test_goals_compare_the_best_of_ours_with_trees_and_allow_one_log():
    below = values({"LR": ([0.6], {}), "FM": ([0.7], {}), "LightGBM": ([0.71], {})})
    is_met, misses = verdicts(goals(below, {}))
    assert is_met == [True, True, True]
    assert misses == ["log: FM is 0.0100 below LightGBM in AUC"]
    line = {"calibration_ratio": 1.0, "seconds": 2.0, "seconds_to_best": 1.0}
    two = {
        Job(log, model, 0): {"auc": auc, **line}
        for log in ("first", "second")
        for model, auc in (("FM", 0.7), ("LightGBM", 0.71))
    }
    assert verdicts(goals(Values(two, trials=0), {}))[0] == [True, False, True]


def test_goals_compare_with_the_same_model_of_the_peer():
    aucs = {
        "FM": ([0.70, 0.71, 0.72], {}),
        "LR": ([0.7], {}),
        "FuxiCTR:FM": ([0.71, 0.73, 0.73], {}),
        "FuxiCTR:LR": ([0.7019], {}),
        "FuxiCTR-z:LR": ([0.7021], {}),
    }
    is_met, misses = verdicts(goals(values(aucs), {}))
    assert is_met == [True, False, True]
    assert misses == [
        "log: FM is 0.0133 behind FuxiCTR:FM in AUC, p = 0.057 over seeds",
        "log: LR is 0.0021 behind FuxiCTR-z:LR in AUC",
    ]


def test_goals_say_what_stopped_too_early():
    others = {"seconds": 2.0, "seconds_to_best": 2.0}
    is_met, misses = verdicts(goals(values({"FM": ([0.7, 0.7], others)}), {}))
    assert is_met == [True, False]
    assert misses == ["log: FM, 2 of 2 seeds"]


def test_other_trials_and_failed_jobs_are_left_out():
    line = {"auc": 0.7, "calibration_ratio": 1.0}
    results = {
        Job("log", "FM", 0): line,
        Job("log", "FM", 1, 30): {**line, "auc": 0.9},
        Job("log", "LR", 0): {"error": "ValueError: no"},
    }
    found = Values(results, trials=0)
    assert found.models == ["FM"]
    assert found.mean("log", "FM", "auc") == 0.7


def test_ranks_are_means_over_logs_of_the_models_that_all_have():
    line = {"calibration_ratio": 1.0, "seconds": 2.0, "seconds_to_best": 1.0}
    aucs = {"a": {"LR": 0.7, "FM": 0.8, "DeepFM": 0.6, "NFM": 0.9}, "b": {"LR": 0.7, "FM": 0.6}}
    aucs["b"]["DeepFM"] = 0.6
    results = {
        Job(log, model, 0): {"auc": auc, "log_loss": auc, **line}
        for log, of_models in aucs.items()
        for model, auc in of_models.items()
    }
    lines = list(_ranks(Values(results, trials=0)))[2:]
    assert lines == ["| LR | 1.5 | 2.5 |", "| FM | 1.8 | 2.2 |", "| DeepFM | 2.8 | 1.2 |"]


def test_races_end_at_the_lower_of_both_best_aucs(tmp_path):
    aucs = {"auc": 0.7, "log_loss": 0.5, "calibration_ratio": 1.0, "seconds": 9.0}
    kept = Kept(tmp_path)
    curves = {
        ("FM", 0): [[1.0, 0.6], [2.0, 0.7], [3.0, 0.8], [4.0, 0.7]],
        ("FuxiCTR:FM", 0): [[5.0, 0.5], [6.0, 0.7], [7.0, 0.6]],
        ("FM", 1): [[1.0, 0.6]],
        ("FuxiCTR:FM", 1): [[5.0, 0.5], [8.0, 0.7]],
        ("FM", 2): [[100.0, 0.9]],
    }
    labels, scores = np.array([0, 1]), np.array([0.2, 0.6])
    for (model, seed), curve in curves.items():
        line = {**aucs, "seconds_to_best": 3.0, "curve": curve}
        kept.add(Job("log", model, seed), Trained(labels, scores, line))
    # The first race ends at 0.7, after 2 and 6 seconds, the second at 0.6, after 1 and 8.
    assert "| FuxiCTR:FM | 1.5 / 7.0 |" in list(report(kept))
