"""Training runs: what they learn and write, and what a kill leaves behind."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from ctr_keras import metrics
from ctr_keras.cli import main
from ctr_keras.data import open_examples, read_rows
from ctr_keras.features import FeatureSet, Numeric
from ctr_keras.layers import recompute_statistics
from ctr_keras.models import Calibration, calibrate
from ctr_keras.runs import write_settings
from ctr_keras.training import (
    TrainConfig,
    TreesConfig,
    evaluate_run,
    load_run,
    predict_split,
    train,
)
from ctr_keras.training import run as run_module
from ctr_keras.training import validation as validation_module
from ctr_keras.training.batches import check_validation
from ctr_keras.training.evaluation import input_names
from ctr_keras.training.folder import open_run
from tests.data.shards import FEATURES, write_prepared
from tests.parameters import first_of
from tests.processes import Command
from tests.training.kills import call, copy_before

ROWS = {"train": 1500, "validation": 400, "test": 300}
# The smallest model, for what does not depend on the model.
FM = {"model": "FM", "model_args": {"dim": 2}, "epochs": 1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", ROWS)


@pytest.fixture(scope="module")
def settings(prepared):
    return {
        "data": prepared,
        "model": "DeepFM",
        "model_args": {"dim": 2, "hidden": [4], "dropout": 0.1},
        "batch_size": 50,
        "epochs": 2,
        "evaluations_per_epoch": 2,
        "patience": 6,
        "learning_rate": 0.02,
        "seed": 4,
    }


MOMENTS = {  # of which function's which call: what there is of checkpoints before it
    "in a checkpoint": (
        os,
        "rename",
        lambda _, target: target.endswith("checkpoints/3"),
        ["2", "new"],
    ),
    "after it": (shutil, "rmtree", lambda path, *_: path.endswith("checkpoints/2"), ["2", "3"]),
    "before the metrics": (run_module, "finish_run", lambda *_: True, ["4"]),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of what kills would have left of the finished run, by their moment."""
    folder = tmp_path_factory.mktemp("killed")
    return {moment: folder / str(number) for number, moment in enumerate(MOMENTS)}


@pytest.fixture(scope="module")
def finished(settings, killed, tmp_path_factory):
    """A run that nobody disturbed, and what `train` said of it."""
    config = TrainConfig(**settings, out=str(tmp_path_factory.mktemp("runs") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        for moment, (owner, name, is_moment, _) in MOMENTS.items():
            copy_before(patch, owner, name, is_moment, config.out, killed[moment])
        return config, train(config)


def history(run):
    with open(pathlib.Path(run) / "history.csv") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_history(actual, expected):
    assert len(actual) == len(expected)
    for row, other in zip(without_time(actual), without_time(expected), strict=True):
        assert row == pytest.approx(other, rel=1e-4)


@pytest.mark.backend
def test_a_run_learns(finished):
    config, report = finished
    assert report["validation"]["auc"] > 0.8
    first, *_, last = history(config.out)
    assert last["train_loss"] < first["train_loss"]


@pytest.mark.backend
def test_a_run_directory_has_what_repeating_needs(finished, settings):
    config, report = finished
    run = pathlib.Path(config.out)
    assert sorted(os.listdir(run)) == [
        *("config.yaml", "features.json", "history.csv", "metrics.json", "model.keras"),
    ]
    written = yaml.safe_load((run / "config.yaml").read_text())
    versions = written.pop("versions")
    assert TrainConfig.read(str(run / "config.yaml")) == config
    assert written["data"] == settings["data"]
    assert written["seed"] == 4
    assert versions["keras"] == keras.__version__
    assert versions["backend"] == keras.backend.backend()
    assert versions["backend"] in versions
    assert FeatureSet.load(run / "features.json") == FEATURES
    assert json.loads((run / "metrics.json").read_text()) == report
    assert [row["round"] for row in history(run)] == [1, 2, 3, 4]


@pytest.mark.backend
def test_the_best_weights_are_kept(finished):
    config, report = finished
    losses = [row["validation_log_loss"] for row in history(config.out)]
    assert report["best_round"] == 1 + int(np.argmin(losses))
    again = evaluate_run(config.out, "validation")
    assert again["log_loss"] == pytest.approx(min(losses), rel=1e-5)
    assert again == pytest.approx(report["validation"], rel=1e-5)


def test_a_run_is_evaluated_on_all_rows_of_a_split(finished):
    config, _ = finished
    model, features, _ = load_run(config.out)
    labels, scores = predict_split(model, features, config.data, "test")
    assert labels.shape == scores.shape == (ROWS["test"],)
    inputs = ["categorical", "numeric", "genres"]
    batches = list(open_examples(config.data, "test", features, inputs=inputs).read(64))
    one_by_one = np.concatenate([keras.ops.convert_to_numpy(model(x)) for x, _ in batches])
    np.testing.assert_allclose(scores, one_by_one[:, 0], 1e-4)
    assert evaluate_run(config.out) == pytest.approx(metrics.evaluate(labels, one_by_one), rel=1e-4)


@pytest.mark.parametrize(("normalization", "splits"), [("batch", ["train"]), ("layer", [])])
def test_rows_for_statistics_are_read_where_there_are_any(
    normalization, splits, settings, tmp_path, monkeypatch
):
    read = []

    def watched(data, split, *arguments, **named):
        read.append(split)
        return open_examples(data, split, *arguments, **named)

    monkeypatch.setattr(validation_module, "open_examples", watched)
    arguments = {"dim": 4, "hidden": [8], "normalization": normalization}
    short = {"model": "DeepFM", "model_args": arguments, "epochs": 1}
    train(TrainConfig(**settings | short, out=str(tmp_path / "run")))
    assert read == splits


@pytest.mark.backend
def test_a_short_run_is_kept_with_the_statistics_of_its_weights(settings, tmp_path):
    short = {"model": "DeepFM", "model_args": {"dim": 4, "hidden": [8]}, "epochs": 1}
    config = TrainConfig(**settings | short, out=str(tmp_path / "run"))
    train(config)
    model, features, _ = load_run(config.out)
    inputs, _ = read_rows(config.data, "train", features, ROWS["train"], input_names(model))
    expected = predict_split(model, features, config.data, "test")[1]
    recompute_statistics(model, inputs)
    scores = predict_split(model, features, config.data, "test")[1]
    np.testing.assert_allclose(scores, expected, 1e-4)


def test_the_model_that_is_kept_is_calibrated(settings, tmp_path):
    data = write_prepared(tmp_path / "data", ROWS | {"validation": 3000})
    reports, means = {}, {}
    for is_calibrated in (False, True):
        out = str(tmp_path / str(is_calibrated))
        still = settings | FM | {"data": data, "out": out, "learning_rate": 1e-3}
        config = TrainConfig(**still, averaging=0.0, calibrate=is_calibrated)
        metrics_json = train(config)
        reports[is_calibrated] = metrics_json["validation"]
        model, features, _ = load_run(out)
        labels, scores = predict_split(model, features, data, "validation")
        means[is_calibrated] = scores.mean() / labels.mean()
        assert reports[is_calibrated]["calibration_ratio"] == pytest.approx(
            means[is_calibrated], 1e-4
        )
        for number in ("calibration_scale", "calibration_shift"):
            assert (number in metrics_json) == is_calibrated
    assert abs(means[True] - 1) < 0.2 * abs(means[False] - 1)
    assert reports[True]["log_loss"] < reports[False]["log_loss"]
    assert reports[True]["auc"] == pytest.approx(reports[False]["auc"], abs=1e-3)
    score = model.get_layer("score")
    found = (metrics_json["calibration_scale"], metrics_json["calibration_shift"])
    assert (score.scale, score.shift) == found
    plain = calibrate(model, Calibration())
    _, scores = predict_split(plain, features, data, "validation")
    assert scores.mean() / labels.mean() == pytest.approx(means[False], 1e-4)


def test_a_run_says_that_its_model_cannot_be_calibrated(settings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(validation_module, "logits_of", lambda model: None)
    report = train(TrainConfig(**settings | FM | {"out": str(tmp_path)}))
    assert "calibration_scale" not in report
    said = capsys.readouterr().out
    assert said.count("not calibrated: FM does not end in a sigmoid layer") == 1


def test_a_run_from_a_calibrated_one_starts_from_its_weights(settings, tmp_path):
    first = TrainConfig(**settings | FM | {"out": str(tmp_path / "first")})
    scale = train(first)["calibration_scale"]
    still = settings | FM | {"start_from": first.out, "learning_rate": 0.0, "averaging": 0.0}
    again = train(TrainConfig(**still, out=str(tmp_path / "again")))
    assert again["calibration_scale"] == pytest.approx(scale, abs=1e-5) != 1


@pytest.mark.parametrize(("epochs", "share"), [(1, "74%"), (50, None)])
def test_a_run_says_that_averages_of_weights_lag(settings, tmp_path, capsys, epochs, share):
    still = settings | FM | {"epochs": epochs, "patience": 1, "learning_rate": 0.0}
    train(TrainConfig(**still, out=str(tmp_path)))
    said = capsys.readouterr().out
    if share is None:
        assert "averages" not in said
    else:
        assert f"lag: after all 30 steps {share} of them is still what training" in said


@pytest.mark.parametrize(("patience", "is_said"), [(9, True), (1, False)])
def test_a_run_that_the_default_of_epochs_has_cut_short_says_so(
    settings, tmp_path, capsys, monkeypatch, patience, is_said
):
    monkeypatch.setattr(TrainConfig, "epochs", 2)
    rate = {"learning_rate": 0.0, "averaging": 0.0}  # the first round stays the best
    train(
        TrainConfig(**settings | FM | {"epochs": 2, "patience": patience} | rate, out=str(tmp_path))
    )
    assert ("was the best: more epochs may be better" in capsys.readouterr().out) == is_said


def test_a_run_that_diverges_says_so_and_what_to_change(settings, tmp_path):
    wild = settings | FM | {"learning_rate": 1e30}
    message = (
        r"of 400 validation scores are NaN or infinite: .*; set a learning_rate below 1e\+30, m"
    )
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**wild, out=str(tmp_path)))


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    config, report = finished
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert train(config) == report


def test_a_run_without_a_models_defaults_says_how_it_goes_on(prepared, tmp_path):
    """As one that an earlier version began."""

    def read(*settings):
        small = ("dim=2", "epochs=1", "batch_size=50", *settings)
        return TrainConfig.read(None, small, data=prepared, model="FM", out=str(tmp_path / "run"))

    report = train(read("preset=null"))
    message = (
        "choose another folder for another run, or --set preset=null for a run without what FM"
    )
    with pytest.raises(ValueError, match=message):
        train(read())
    assert train(read("preset=null")) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 9}, "has ended with epochs=2: train on into another folder, with --set start"),
        ({"seed": 5}, "holds a run with seed=4, not 5"),
        ({"model_args": {}}, "holds a run with model_args="),
    ],
)
def test_a_run_with_other_settings_is_refused(finished, change, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(finished[0], **change))


def test_a_run_that_failed_before_its_first_round_leaves_nothing(settings, tmp_path):
    config = TrainConfig(**settings | FM | {"model": "ESMM", "out": str(tmp_path / "run")})
    with pytest.raises(ValueError, match="ESMM needs several labels"):
        train(config)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()  # which then stays
    with pytest.raises(ValueError, match="ESMM needs several labels"):
        train(config)
    assert not [*(tmp_path / "run").iterdir()]


@pytest.mark.parametrize(
    ("rows", "rate", "message"),
    [
        (0, None, "has no rows, so that no model can be chosen by it: prepare"),
        (9, 0.0, "has no row with a click"),
        (9, 1.0, "has no row without a click"),
    ],
)
def test_a_validation_split_that_tells_nothing_is_named_before_training(
    settings, tmp_path, rows, rate, message
):
    data = tmp_path / "data"
    shutil.copytree(settings["data"], data)
    report = json.loads((data / "report.json").read_text())
    report["rows"]["validation"] = rows
    report["label_mean"] = {"validation": rate}
    (data / "report.json").write_text(json.dumps(report))
    places = {"data": str(data), "out": str(tmp_path / "run")}
    for config in (TrainConfig(**settings | places), TreesConfig(model="LightGBM", **places)):
        with pytest.raises(ValueError, match=message):
            train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("rate", "rarer"), [(0.01, "with"), (0.99, "without"), (0.1, None)])
def test_few_clicks_that_all_rests_on_are_said(tmp_path, capsys, rate, rarer):
    report = {"rows": {"validation": 400}, "label_mean": {"validation": rate}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    check_validation(str(tmp_path), FEATURES)
    said = f"the validation split has 4 rows {rarer} a click, which choose the best model and"
    printed = capsys.readouterr().out
    assert printed.startswith(said) if rarer else not printed


@pytest.mark.parametrize("setting", [{"monitor": "auc_by_group"}, {"pairwise_weight": 0.5}])
def test_groups_that_no_data_set_declares_are_asked_for_before_training(
    settings, tmp_path, setting
):
    ((name, value),) = setting.items()
    message = f"^{name}={value} needs a group: set one, or declare `group:` in the data set's YAML$"
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**settings | FM | setting, out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.yaml": "model: FM\nspace: {}\n", "journal.log": ""}, "out holds a study: choose"),
        ({"config.yaml": "method: aim\n", "plan.json": ""}, "out holds a search: choose"),
        ({"config.yaml": "replicas: 3\n"}, "out is not empty and holds no run: choose another"),
        ({"config.yaml": "a: b: c\n"}, "out is not empty and holds no run"),
        ({"comparison.html": ""}, "out is not empty and holds no run"),
        ({"metrics.json": "{}"}, "out is not empty and holds no run"),
    ],
)
def test_a_folder_of_something_else_stays_as_it_is(files, message, settings, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name, text in files.items():
        (out / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**settings, out=str(out)))
    assert {path.name: path.read_text() for path in out.iterdir()} == files


@pytest.mark.parametrize(
    "names", [(), ("lock", "log.txt"), ("features.json", "config.yaml.partial", "run.lock")]
)
def test_a_folder_without_anything_of_worth_is_taken(names, settings, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with open_run(TrainConfig(**settings, out=str(tmp_path)), FEATURES) as finished:
        assert finished is None
    assert not (tmp_path / "run.lock").exists()


def test_two_processes_do_not_train_in_one_folder(finished, settings, tmp_path):
    config = TrainConfig(**settings, out=str(tmp_path))
    with open_run(config, FEATURES):
        with pytest.raises(ValueError, match=f"another process works in {tmp_path}"):
            train(config)
        assert "run.lock" in os.listdir(tmp_path)  # not taken from the one that holds it
    with open_run(config, FEATURES):  # which has ended
        pass
    with open_run(finished[0], FEATURES), open_run(finished[0], FEATURES) as report:
        assert report == finished[1]  # to read it needs no lock


def test_other_data_are_refused(finished, tmp_path):
    other = FeatureSet.from_dict(
        FEATURES.to_dict() | {"vocabulary_sizes": {"a": 9, "b": 2, "genres": 4}}
    )
    prepared = write_prepared(tmp_path / "other", {"test": 30}, other)
    with pytest.raises(ValueError, match="prepared with other features"):
        evaluate_run(finished[0].out, data=prepared)


def test_a_damaged_model_is_named(finished, tmp_path):
    run = shutil.copytree(finished[0].out, tmp_path / "run")
    os.truncate(run / "model.keras", 1000)
    with pytest.raises(ValueError, match=r"run/model.keras is damaged"):
        load_run(str(run))
    os.remove(run / "model.keras")
    with pytest.raises(FileNotFoundError, match=r"run holds no model: there is no model.keras"):
        load_run(str(run))


def test_a_folder_without_run_is_not_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run: there is no config"):
        load_run(str(tmp_path))


class PressCtrlC(keras.callbacks.Callback):
    """At the end of the second round."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_data_that_were_prepared_anew_are_noticed_unless_they_are_named(settings, tmp_path):
    """Rows that the run is measured on may be among those that it has learned from."""
    data = write_prepared(tmp_path / "data", {"train": 300, "validation": 90, "test": 60})
    config = TrainConfig(**settings | FM | {"data": data, "epochs": 8, "out": str(tmp_path / "a")})
    with pytest.raises(KeyboardInterrupt):
        train(config, [PressCtrlC()])
    shutil.rmtree(data)
    write_prepared(pathlib.Path(data), {"train": 290, "validation": 100, "test": 60})
    for act in (lambda: train(config), lambda: evaluate_run(config.out)):
        with pytest.raises(ValueError, match=r"data was prepared anew, with other rows or splits"):
            act()
    assert evaluate_run(config.out, data=data)["auc"] > 0


@pytest.mark.backend
def test_a_run_that_was_stopped_has_a_best_model_and_goes_on(settings, tmp_path, capsys):
    out = str(tmp_path / "run")
    config = TrainConfig(**settings | FM | {"epochs": 8, "out": out})
    with pytest.raises(KeyboardInterrupt):
        train(config, [PressCtrlC()])
    best = min(row["validation_log_loss"] for row in history(out))
    measured = evaluate_run(out, "validation")
    assert measured["log_loss"] == pytest.approx(best, rel=1e-5)
    assert f"has not ended, best of 2 rounds: validation log loss {best:.5f}, AUC" in (
        capsys.readouterr().err
    )
    report = train(dataclasses.replace(config, epochs=2, patience=9))
    assert report["rounds"] == 4
    assert TrainConfig.read(os.path.join(out, "config.yaml")).epochs == 2
    with pytest.raises(ValueError, match="has ended with epochs=2"):
        train(config)


def test_a_cosine_keeps_its_epochs(settings, tmp_path):
    config = TrainConfig(
        **settings | FM | {"epochs": 8, "schedule": "cosine", "out": str(tmp_path / "run")}
    )
    with pytest.raises(KeyboardInterrupt):
        train(config, [PressCtrlC()])
    with pytest.raises(ValueError, match="schedule=cosine falls over epochs=8, not 2"):
        train(dataclasses.replace(config, epochs=2))


@pytest.mark.parametrize(
    ("rounds", "says"),
    [
        (0, "Stopped. No round had ended. The same command starts over."),
        (2, "Stopped. The best of 2 rounds: validation log loss 0."),
    ],
)
def test_ctrl_c_says_how_to_go_on(settings, tmp_path, monkeypatch, rounds, says):
    def stopped(config):
        if rounds:
            train(config, [PressCtrlC()])
        raise KeyboardInterrupt

    monkeypatch.setattr("ctr_keras.training.train", stopped)
    small = [f"--set={name}={settings[name]}" for name in ("batch_size", "evaluations_per_epoch")]
    command = ["train", "--data", settings["data"], "--model", "FM", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*command, *small, "--set=dim=2"])
    assert result.exit_code == 130
    assert says in result.stderr.splitlines()[-1]


def test_a_run_without_a_round_has_no_model(settings, tmp_path):
    config = TrainConfig(**settings | FM | {"out": str(tmp_path)})
    FEATURES.save(tmp_path / "features.json")
    write_settings(str(tmp_path / "config.yaml"), config.to_dict())
    with pytest.raises(FileNotFoundError, match="holds no model yet: none of its rounds has ended"):
        load_run(str(tmp_path))


def test_stopping_early(settings, tmp_path):
    # A learning rate of 0 never gets better than in the first round.
    changes = {"learning_rate": 0.0, "patience": 2, "epochs": 5, "out": str(tmp_path / "run")}
    report = train(TrainConfig(**settings | FM | changes))
    assert report["rounds"] == 3
    assert report["best_round"] == 1


def test_the_best_weights_need_not_be_the_last(settings, tmp_path, monkeypatch):
    losses = iter([0.5, 0.4, 0.6, 0.7])
    real = metrics.evaluate

    def evaluate(*rows):
        return real(*rows) | {"log_loss": next(losses)}

    changes = {"patience": 2, "epochs": 3}
    config = TrainConfig(**settings | FM | changes, out=str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(validation_module.metrics, "evaluate", evaluate)
        assert train(config)["best_round"] == 2
    first, second, third, fourth = (row["validation_auc"] for row in history(config.out))
    assert len({first, second, third, fourth}) == 4
    assert evaluate_run(config.out, "validation")["auc"] == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize(
    "moment",
    [
        "in a checkpoint",
        "after it",
        pytest.param("before the metrics", marks=pytest.mark.backend),
    ],
)
def test_a_stop_at_any_moment_leaves_a_run_to_go_on_with(moment, finished, killed, settings):
    run = killed[moment]
    assert sorted(os.listdir(run / "checkpoints")) == MOMENTS[moment][-1]
    config = TrainConfig(**settings, out=str(run))
    report = train(config)
    assert_same_history(history(config.out), history(finished[0].out))
    assert report["best_round"] == finished[1]["best_round"]
    best = evaluate_run(config.out, "validation")
    assert best == pytest.approx(report["validation"], rel=1e-5)
    assert sorted(os.listdir(run)) == sorted(os.listdir(finished[0].out))


def test_an_unknown_way_to_update_tables_is_named(settings):
    with pytest.raises(
        ValueError, match=r"table_updates must be 'lazy', 'exact' or 'dense', got 'all'"
    ):
        TrainConfig(**settings, out="run", table_updates="all")


@pytest.mark.parametrize("resident", [False, True])
def test_a_run_from_a_cache_or_from_memory_goes_on_within_an_epoch(
    resident, settings, tmp_path, monkeypatch
):
    changes = {"evaluations_per_epoch": 3, "resident": resident, "cache": str(tmp_path / "cache")}
    undisturbed = TrainConfig(**settings | FM | changes, out=str(tmp_path / "undisturbed"))
    killed = dataclasses.replace(undisturbed, out=str(tmp_path / "killed"))
    with monkeypatch.context() as patch:
        copy_before(
            patch, validation_module, "recompute_statistics", call(2), undisturbed.out, killed.out
        )
        train(undisturbed)
    assert len(history(killed.out)) == 1
    train(killed)
    assert_same_history(history(killed.out), history(undisturbed.out))


def test_killed_and_started_again(settings, finished, tmp_path):
    run = tmp_path / "run"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = ["train", "--config", str(config), "--out", str(run)]
    process = Command(*command)
    process.wait_until((run / "checkpoints" / "1").exists)
    process.kill()
    assert not (run / "metrics.json").exists()
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.stderr
    assert "round 1 of 4:" not in result.stderr
    assert re.search(r"^going on after round \d of 4$", result.stderr, re.MULTILINE)
    assert "round 4 of 4:" in result.stderr
    assert_same_history(history(run), history(finished[0].out))
    report = json.loads(result.stdout)
    assert report["validation"] == pytest.approx(finished[1]["validation"], rel=1e-3)


def test_a_run_can_start_from_anothers_weights(finished, settings, tmp_path):
    config, report = finished
    still = settings | {"learning_rate": 0.0, "epochs": 1, "evaluations_per_epoch": 1}
    further = train(TrainConfig(**still, start_from=config.out, out=str(tmp_path / "further")))
    assert further["validation"] == pytest.approx(report["validation"], rel=1e-4)


LOG = {"a": list("xxy"), "b": list("xxy"), "row": [0, 0, 0], "genres": ["p|q|r", "s", ""]}
LOG["history"] = [""] * 3


def test_a_run_of_another_model_is_no_start(finished, settings, tmp_path):
    run = finished[0].out
    config = TrainConfig(**settings | FM | {"start_from": run, "out": str(tmp_path / "run")})
    with pytest.raises(ValueError, match=f"start_from: {run} is a run of DeepFM, not of FM$"):
        train(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dim": 3},
            r"the shape \(\d+, 2\) there and \(\d+, 3\) here: .* dim is 2 there and 3 here$",
        ),
        (
            {"hidden": [4, 4]},
            r"its model has \d+ weights, .* hidden is \[4\] there and \[4, 4\] here$",
        ),
        ({}, r"train without start_from$"),
    ],
)
def test_a_run_of_other_arguments_is_no_start_and_they_are_named(
    changes, message, finished, settings, tmp_path
):
    run = finished[0].out
    if not changes:  # a run that says that it has what this one has
        run = shutil.copytree(run, tmp_path / "earlier")
        changes = {"dim": 3}
        edited = dataclasses.replace(finished[0], model_args={**settings["model_args"], **changes})
        write_settings(str(run / "config.yaml"), edited.to_dict())
    arguments = {"model_args": {**settings["model_args"], **changes}, "start_from": str(run)}
    with pytest.raises(ValueError, match=f"start_from: {run}: .*{message}") as error:
        train(TrainConfig(**settings | arguments | {"out": str(tmp_path / "run")}))
    assert "\n" not in str(error.value)


def test_other_vocabularies_need_the_same_arguments_and_the_earlier_data(
    finished, settings, tmp_path
):
    FEATURES.fit(LOG).save_fitted(finished[0].data)
    after = FEATURES.fit(LOG | {"genres": ["p|q|r", "s|t", ""]})
    data = write_prepared(tmp_path / "after", ROWS, after)
    after.save_fitted(data)
    wide = {**settings["model_args"], "dim": 3}
    changes = {"data": data, "out": str(tmp_path / "run"), "model_args": wide}
    message = "is 3 wide, and the old one 2; model arguments differ: dim is 2 there and 3 here$"
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**settings | changes, start_from=finished[0].out))
    moved = shutil.copytree(finished[0].out, tmp_path / "moved")
    write_settings(
        str(moved / "config.yaml"), dataclasses.replace(finished[0], data="gone").to_dict()
    )
    with pytest.raises(FileNotFoundError, match=f"start_from: {moved} was trained on gone, which "):
        train(
            TrainConfig(**settings | {"data": data, "out": changes["out"]}, start_from=str(moved))
        )


class Stopper(keras.callbacks.Callback):
    """Stops the training in the second round: at its end, or after its first step."""

    def __init__(self, at_once):
        super().__init__()
        self._at_once = at_once
        self._round = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._round = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        if self._at_once and self._round == 2:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self._round == 2:
            self.model.stop_training = True


@pytest.mark.parametrize("at_once", [False, True])
def test_a_run_that_a_callback_stops_is_finished_and_says_so(at_once, settings, tmp_path, capsys):
    config = TrainConfig(**settings | FM | {"out": str(tmp_path), "evaluations_per_epoch": 4})
    stopper = Stopper(at_once)
    report = train(config, [stopper])
    assert report["rounds"] == stopper._round == 2
    assert report["stopped"] == "by a callback after round 2 of 4"
    assert "\nstopped by a callback after round 2 of 4\n" in capsys.readouterr().out
    assert train(config) == report
    assert "stopped" not in train(dataclasses.replace(config, out=str(tmp_path / "whole")))


def test_a_run_names_data_that_are_not_there(finished, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(finished[0].out, moved)
    config = dataclasses.replace(finished[0], data="data", out=str(moved))
    write_settings(str(moved / "config.yaml"), config.to_dict())
    with pytest.raises(FileNotFoundError, match=f"{moved} was trained on data, .* by --data$"):
        evaluate_run(str(moved))
    assert evaluate_run(str(moved), data=finished[0].data)["auc"] > 0.5


@pytest.mark.backend
@pytest.mark.parametrize("genres", first_of(["s|t", "s"]))
def test_a_run_starts_from_anothers_weights_by_value(genres, finished, settings, tmp_path):
    """The rows are as before, but their ids of `a` mean each other's values: the model, which knows
    values, is as wrong as it was right. With one genre more the sizes differ, too."""
    config, report = finished
    before = FEATURES.fit(LOG)
    after = FEATURES.fit(LOG | {"a": list("yyx"), "genres": ["p|q|r", genres, ""]})
    assert before == FEATURES
    assert (after == FEATURES) == (genres == "s")
    before.save_fitted(config.data)
    data = write_prepared(tmp_path / "after", ROWS, after)
    after.save_fitted(data)
    still = settings | {"learning_rate": 0.0, "epochs": 1, "evaluations_per_epoch": 1, "data": data}
    further = train(TrainConfig(**still, start_from=config.out, out=str(tmp_path / "further")))
    assert further["validation"]["auc"] == pytest.approx(1 - report["validation"]["auc"], abs=0.05)


def test_numbers_of_other_statistics_are_refused_before_the_first_step(tmp_path):
    scaled = [Numeric("row", scale="min_max") if f.name == "row" else f for f in FEATURES.features]
    declared = FeatureSet(*scaled, label=FEATURES.label)
    settings = {"model": "FM", "model_args": {"dim": 2}, "batch_size": 10, "epochs": 1}
    rows = dict.fromkeys(ROWS, 10)

    def data(name: str, features: FeatureSet) -> str:
        folder = write_prepared(tmp_path / name, rows, features)
        features.save_fitted(folder)
        return folder

    old = declared.fit(LOG | {"row": [0, 1, 2]})
    kept = declared.fit(LOG | {"row": [0, 1, 3]}, numbers_of=old)
    first = TrainConfig(data=data("old", old), out=str(tmp_path / "first"), **settings)
    train(first)
    settings["start_from"] = first.out
    train(TrainConfig(data=data("kept", kept), out=str(tmp_path / "second"), **settings))
    moved = declared.fit(LOG | {"row": [0, 1, 3]})
    with pytest.raises(ValueError, match=r"'row' would mean .* train without start_from") as error:
        train(TrainConfig(data=data("moved", moved), out=str(tmp_path / "third"), **settings))
    assert "\n" not in str(error.value)


def test_other_vocabularies_need_those_of_the_new_data(finished, settings, tmp_path):
    after = FEATURES.fit(LOG | {"genres": ["p|q|r", "s|t", ""]})
    changes = {
        "data": write_prepared(tmp_path / "after", ROWS, after),
        "out": str(tmp_path / "run"),
    }
    FEATURES.fit(LOG).save_fitted(finished[0].data)
    with pytest.raises(
        FileNotFoundError, match=r"after holds no vocabularies: there is no .*/vocab"
    ):
        train(TrainConfig(**settings | changes, start_from=finished[0].out))
