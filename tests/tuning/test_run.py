"""Studies: what they find and write, what fails, is stopped, killed or shared."""

import csv
import dataclasses
import pathlib
import threading
import time

import pytest
import yaml

from ctr_keras.training import TrainConfig, load_run
from ctr_keras.tuning import Choice, Range, TuneConfig, tune
from ctr_keras.tuning import report as report_module
from ctr_keras.tuning import run as run_module
from tests.data.shards import FEATURES, write_prepared

SPACE = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "dim": Choice([4, 8, 16]),
    "dropout": Range(0.0, 0.5),
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of `DeepFM`, for trials whose models are not really built and trained."""
    monkeypatch.setattr(run_module, "buildable", lambda config, features: config)
    data = tmp_path / "data"
    data.mkdir()
    FEATURES.save(data / "features.json")
    (data / "report.json").write_text("{}")

    def make(trials=6, **settings) -> TuneConfig:
        base = TrainConfig(data=str(data), model="DeepFM", out=str(tmp_path / "study"))
        return TuneConfig(base, SPACE, trials, **{"seeds": 0, "pruner": "none", **settings})

    return make


def loss_of(run: TrainConfig) -> float:
    return 0.3 + run.model_args["dropout"] / 10 + (run.model_args["dim"] != 8) / 10


def pretend(run, callbacks=(), rounds=7):
    """A run whose log loss falls to that of its settings."""
    for left in reversed(range(rounds)):
        loss = loss_of(run) + left / 10
        for callback in callbacks:
            callback.on_epoch_end(rounds - 1 - left, {"validation_log_loss": loss})
    return {"validation": {"log_loss": loss}}


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(run_module, "_train", pretend)


def trials_of(config) -> list[dict[str, str]]:
    with open(pathlib.Path(config.base.out, "trials.csv")) as file:
        return list(csv.DictReader(file))


SETTINGS = ("learning_rate", "dim", "dropout")


def settings_of(config) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in SETTINGS) for row in trials_of(config)]


def test_the_best_of_the_trials_is_found_and_shown(study, pretended):
    config = study(25)
    report = tune(config)
    assert report["settings"]["dim"] == 8
    assert report["settings"]["dropout"] < 0.1
    assert report["validation_log_loss"] == pytest.approx(0.3 + report["settings"]["dropout"] / 10)
    assert report["trials"] == {"complete": 25}
    assert report["importance"].keys() == SPACE.keys()
    out = pathlib.Path(config.base.out)
    for name in ("importance.png", "trials.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    summary = (out / "summary.md").read_text()
    assert "25 trials (25 complete)" in summary
    assert "| dim | 8 |" in summary
    best = TrainConfig.read(str(out / "best.yaml"), out="elsewhere")
    assert best.model_args["dim"] == 8
    assert [int(row["trial"]) for row in trials_of(config)] == list(range(25))


NOTHING_FOUND = "These are the default settings: no trial was better"


def test_a_search_that_found_nothing_says_so(study, monkeypatch):
    def train(run, callbacks=()):
        return {"validation": {"log_loss": 0.5 + int(run.out[-4:]) / 100}}

    monkeypatch.setattr(run_module, "_train", train)
    config = study(3)
    assert tune(config)["best_trial"] == 0
    assert NOTHING_FOUND in pathlib.Path(config.base.out, "summary.md").read_text()


def test_the_first_trial_is_a_run_without_a_search(study, pretended):
    """Or what of the space is next to it: the defaults are a rate of .001, 16 and .1."""
    tune(config := study(1))
    assert settings_of(config) == [("0.001", "16", "0.1")]
    assert NOTHING_FOUND not in pathlib.Path(config.base.out, "summary.md").read_text()
    set_ = dataclasses.replace(config.base, model_args={"dropout": 0.7}, out=f"{config.base.out}-2")
    tune(config := dataclasses.replace(config, base=set_))
    assert settings_of(config) == [("0.001", "16", "0.5")]


def test_what_is_best_in_the_mean_over_other_seeds_is_chosen(study, monkeypatch):
    """The one of the three best trials that other seeds do not bear out is not the best.

    The defaults, trial 0, are looked at with them however bad they were.
    """
    trained = []

    def train(run, callbacks=()):
        report = pretend(run, callbacks)
        if "finalists" in run.out:
            trained.append(run)
            number, seed = pathlib.Path(run.out).parts[-2:]
            assert seed == f"seed-{run.seed}"
            loss = {"0000": 0.45, "0001": 0.41, "0002": 0.5, "0003": 0.4}[number] + run.seed / 100
            return {"validation": {"log_loss": loss}}
        losses = {0: 0.9, 1: 0.3, 2: 0.1, 3: 0.2, 4: 0.8}
        report["validation"]["log_loss"] = losses[int(pathlib.Path(run.out).name)]
        return report

    monkeypatch.setattr(run_module, "_train", train)
    monkeypatch.setattr(report_module, "_over_seeds", lambda data, runs: {"test": {}})
    config = study(5, seeds=2, finalists=3)
    report = tune(config)
    assert report["best_trial"] == 3
    assert {number: mean for number, (mean, _) in report["finalists"].items()} == pytest.approx(
        {3: 0.415, 1: 0.425, 0: 0.465, 2: 0.515}
    )
    assert list(report["finalists"]) == [3, 1, 0, 2]
    assert sorted({run.out for run in trained}) == sorted(
        str(pathlib.Path(config.base.out, "finalists", f"{number:04d}", f"seed-{seed}"))
        for number in (0, 1, 2, 3)
        for seed in (1, 2)
    )
    best = TrainConfig.read(str(pathlib.Path(config.base.out, "best.yaml")), out="elsewhere")
    row = trials_of(config)[3]
    assert best.learning_rate == pytest.approx(float(row["learning_rate"]))
    assert "| 3 | 0.4150 ± 0.0071 |" in pathlib.Path(config.base.out, "summary.md").read_text()


def test_a_study_of_an_earlier_version_tries_the_defaults_next(study, monkeypatch):
    """Its first trial was drawn: it is not taken for the defaults by its number."""
    monkeypatch.setattr(run_module, "_train", pretend)
    monkeypatch.setattr(report_module, "_over_seeds", lambda base, runs: {"test": {}})
    config = study(1, seeds=1, finalists=1)
    drawn = {"learning_rate": 0.009, "dim": "8", "dropout": 0.0}
    earlier = run_module._Study(config)
    earlier._study.enqueue_trial(drawn)
    trial = earlier._study.ask({name: of.distribution() for name, of in SPACE.items()})
    earlier._study.tell(trial, 0.3)
    assert tune(config)["defaults_trial"] is None
    summary = pathlib.Path(config.base.out, "summary.md")
    assert "\nThe best trials, trained again with 1 other seed;" in summary.read_text()
    config = dataclasses.replace(config, trials=3)
    report = tune(config)
    assert settings_of(config)[1] == ("0.001", "16", "0.1")
    assert report["defaults_trial"] == 1
    assert 1 in report["finalists"]
    assert "and the defaults, trial 1, trained again" in summary.read_text()


def failing_finalists(*failing):
    """Like `pretend`, but these runs of finalists fail: one with an error, others with NaN."""

    def train(run, callbacks=()):
        place = "/".join(pathlib.Path(run.out).parts[-2:])
        if place == failing[0]:
            raise MemoryError("no room")
        if place in failing:
            return {"validation": {"log_loss": float("nan")}}
        report = pretend(run, callbacks)
        if "trials" in run.out:  # later ones are worse
            report["validation"]["log_loss"] = 0.2 + run.seed + int(run.out[-4:]) / 100
        return report

    return train


def test_a_finalist_that_fails_with_another_seed_is_not_chosen(study, monkeypatch):
    monkeypatch.setattr(run_module, "_train", failing_finalists("0000/seed-2", "0001/seed-1"))
    monkeypatch.setattr(report_module, "_over_seeds", lambda base, runs: {"test": {}})
    config = study(5, seeds=2, finalists=3)
    report = tune(config)
    assert report["best_trial"] == 2
    assert list(report["finalists"]) == [2]
    assert report["failed_finalists"] == {
        0: "seed 2: MemoryError: no room",
        1: "seed 1: ValueError: validation log_loss is nan",
    }
    summary = pathlib.Path(config.base.out, "summary.md").read_text()
    assert "- trial 0 with another seed: seed 2: MemoryError: no room" in summary
    monkeypatch.setattr(run_module, "_train", failing_finalists("never"))
    assert list(tune(config)["finalists"]) != [2]  # tried again


def test_finalists_that_all_fail_with_other_seeds_say_why(study, monkeypatch):
    monkeypatch.setattr(run_module, "_train", failing_finalists("0000/seed-1", "0001/seed-1"))
    with pytest.raises(
        ValueError, match=r"none of the 2 best trials .*seed 1: MemoryError: no room"
    ):
        tune(study(3, seeds=1, finalists=2))


def test_one_seed_has_no_deviation_and_few_trials_no_importance(study, pretended, monkeypatch):
    monkeypatch.setattr(
        report_module, "_over_seeds", lambda base, runs: {"test": {"a": (0.5, None)}}
    )
    config = study(4, seeds=1, finalists=2)
    report = tune(config)
    assert all(deviation is None for _, deviation in report["finalists"].values())
    assert report["importance"] == {}
    out = pathlib.Path(config.base.out)
    summary = (out / "summary.md").read_text()
    assert "with 1 other seed; " in summary
    assert "±" not in summary
    assert "| test | 0.5000 |" in summary
    assert "too few for the importance of settings" in summary
    assert "| setting | value |\n" in summary
    assert not (out / "importance.png").exists()


def test_the_metric_that_is_tuned_is_shown_over_seeds(tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 400, "validation": 100, "test": 100})
    changes = {"epochs": 1, "monitor": "auc_by_group", "group": "a"}
    base = TrainConfig(data=data, model="LR", out=str(tmp_path / "study"), **changes)
    config = TuneConfig(base, {"learning_rate": Choice([0.01, 0.05])}, 1, 2, finalists=1)
    report = tune(config)
    (mean,) = [mean for mean, _ in report["finalists"].values()]
    assert report["seeds"]["validation"]["auc_by_group"][0] == pytest.approx(mean, abs=1e-6)
    summary = (tmp_path / "study" / "summary.md").read_text()
    assert "| split | AUC | log loss | AUC by group |" in summary


def test_a_trial_that_ends_while_it_is_looked_at_is_not_run_again(study, pretended, monkeypatch):
    config = study(1)
    ours = run_module._Study(config)
    trial = ours._study.ask({name: of.distribution() for name, of in SPACE.items()})
    locked = run_module._locked

    def ends_before(folder, *, waits=True):
        if not waits and trial.number in {running.number for running in ours._running}:
            ours._study.tell(trial.number, 0.5)
        return locked(folder, waits=waits)

    monkeypatch.setattr(run_module, "_locked", ends_before)
    assert ours.try_next() is False
    assert ours.trials[0].value == 0.5


def test_finalists_are_shared_by_workers(study, monkeypatch):
    """One that waits for nothing trains runs of the next finalist, and none is trained twice."""
    begun, both = [], threading.Barrier(2)

    def train(run, callbacks=()):
        if "finalists" in run.out and run.out not in begun:
            begun.append(run.out)
            if len(begun) <= 2:
                both.wait(timeout=30)  # the only seeds of two finalists, at once
        return pretend(run, callbacks)

    monkeypatch.setattr(run_module, "_train", train)
    monkeypatch.setattr(report_module, "_over_seeds", lambda base, runs: {})
    config, reports = study(2, seeds=1, finalists=2), []
    workers = [
        threading.Thread(target=lambda: reports.append(tune(config)), daemon=True) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(reports) == 2
    assert reports[0] == reports[1]


def test_more_trials_may_have_other_finalists(tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 400, "validation": 100, "test": 100})
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: [1.0e-4, 0.05]\n")
    base = {"data": data, "model": "LR", "out": str(tmp_path / "study"), "epochs": 1}
    for trials, seeds in ((1, 1), (2, 1)):
        config = TuneConfig.read(space=str(space), **base, trials=trials, seeds=seeds, finalists=1)
        report = tune(config)
    assert report["finalists"].keys() == {report["best_trial"]}


def test_a_trial_that_fails_is_recorded_with_its_reason(study, monkeypatch):
    def fail(run, callbacks=()):
        if run.model_args["dim"] == 16:
            raise MemoryError("no room for 16\nand a traceback")
        report = pretend(run)
        return {"validation": {"log_loss": float("nan")}} if run.model_args["dim"] == 4 else report

    monkeypatch.setattr(run_module, "_train", fail)
    config = study(12)
    report = tune(config)
    assert report["settings"]["dim"] == 8
    reasons = {(row["state"], row["dim"], row["reason"]) for row in trials_of(config)}
    assert reasons == {
        ("complete", "8", ""),
        ("fail", "4", "ValueError: validation log_loss is nan"),
        ("fail", "16", "MemoryError: no room for 16"),
    }
    summary = pathlib.Path(config.base.out, "summary.md").read_text()
    assert "failed: MemoryError: no room for 16" in summary


def test_a_study_without_a_good_trial_says_why(study, monkeypatch):
    def fail(run, callbacks=()):
        raise ValueError("there is no data")

    monkeypatch.setattr(run_module, "_train", fail)
    with pytest.raises(ValueError, match=r"none of 3 trials .*ValueError: there is no data"):
        tune(study(3))


@pytest.mark.parametrize(("pruner", "rounds"), [("median", {5, 6}), ("halving", {1, 2, 3})])
def test_bad_trials_are_stopped_early(study, pretended, pruner, rounds):
    config = study(20, pruner=pruner)
    report = tune(config)
    assert report["trials"]["pruned"] >= 2
    rows = trials_of(config)
    worst = max(float(row["validation_log_loss"]) for row in rows if row["state"] == "complete")
    stopped = [row for row in rows if row["state"] == "pruned"]
    assert {int(row["rounds"]) for row in stopped} <= rounds
    assert report["validation_log_loss"] < worst


def test_the_largest_auc_is_the_best(study, monkeypatch):
    def train(run, callbacks=()):
        auc = 1 - loss_of(run)
        callbacks[0].on_epoch_end(0, {"validation_auc": auc})
        return {"validation": {"auc": auc, "log_loss": auc}}

    monkeypatch.setattr(run_module, "_train", train)
    config = study(12)
    config = dataclasses.replace(config, base=dataclasses.replace(config.base, monitor="auc"))
    report = tune(config)
    rows = [float(row["validation_auc"]) for row in trials_of(config)]
    assert report["validation_auc"] == max(rows)
    summary = pathlib.Path(config.base.out, "summary.md").read_text()
    assert f"validation auc of {max(rows):.5f}" in summary


def test_more_trials_go_on_where_fewer_have_ended(study, pretended, tmp_path):
    tune(study(4))
    config = study(9)
    tune(config)
    in_two = settings_of(config)
    pathlib.Path(config.base.out).rename(tmp_path / "first")
    tune(config)
    assert settings_of(config) == in_two
    assert len({*in_two}) == 9


def test_an_interrupted_trial_goes_on(study, monkeypatch, tmp_path):
    begun = []

    def interrupted(run, callbacks=()):
        begun.append(run.out)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return pretend(run, callbacks)

    monkeypatch.setattr(run_module, "_train", interrupted)
    config = study(5)
    with pytest.raises(KeyboardInterrupt):
        tune(config)
    report = tune(config)
    assert [pathlib.Path(out).name for out in begun] == [
        f"{number:04d}" for number in (0, 1, 2, 2, 3, 4)
    ]
    assert report["trials"] == {"complete": 5}
    again = settings_of(config)
    pathlib.Path(config.base.out).rename(tmp_path / "first")
    tune(config)
    assert settings_of(config) == again


def test_what_kills_the_process_again_and_again_is_given_up(study, monkeypatch):
    def kill(run, callbacks=()):
        if run.out.endswith("0001"):
            raise KeyboardInterrupt
        return pretend(run, callbacks)

    monkeypatch.setattr(run_module, "_train", kill)
    config = study(3)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            tune(config)
    assert tune(config)["trials"] == {"complete": 2, "fail": 1}
    assert trials_of(config)[1]["reason"] == "RuntimeError: killed 3 times"


def test_another_study_is_refused(study, pretended):
    config = study(2)
    tune(config)
    other = TuneConfig(config.base, SPACE | {"dim": Choice([4, 8])}, 2, 0, "none")
    with pytest.raises(ValueError, match=r"with space\.dim={'values': \[4, 8, 16\]}, not"):
        tune(other)
    without = {name: of for name, of in SPACE.items() if name != "dim"}
    with pytest.raises(ValueError, match=r"with space\.dim=.*, not None"):
        tune(TuneConfig(config.base, without, 2, 0, "none"))
    with pytest.raises(ValueError, match="with pruner='none', not 'median'"):
        tune(study(2, pruner="median"))


def test_a_study_of_a_version_with_fewer_settings_goes_on(study, pretended):
    config = study(3)
    tune(config)
    path = pathlib.Path(config.base.out, "config.yaml")
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({k: v for k, v in settings.items() if k != "start_new_rows"}))
    assert tune(study(4))["trials"] == {"complete": 4}


def test_data_that_are_not_there_leave_no_folder(tmp_path):
    base = TrainConfig(data=str(tmp_path / "no"), model="FM", out=str(tmp_path / "study"))
    with pytest.raises(FileNotFoundError, match="no"):
        tune(TuneConfig(base, SPACE))
    assert not (tmp_path / "study").exists()


def test_workers_share_the_trials(study, monkeypatch):
    by_worker = {}

    def train(run, callbacks=()):
        by_worker.setdefault(threading.get_ident(), []).append(run.out)
        time.sleep(0.05)
        return pretend(run, callbacks)

    monkeypatch.setattr(run_module, "_train", train)
    config, reports = study(12), []
    workers = [
        threading.Thread(target=lambda: reports.append(tune(config)), daemon=True) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(by_worker) == 3
    trained = [out for outs in by_worker.values() for out in outs]
    assert len(trained) == len({*trained}) == 12
    assert len({*settings_of(config)}) == 12
    assert len(reports) == 3
    assert reports[0] == reports[1] == reports[2]


def test_a_worker_takes_over_from_one_that_died(study, monkeypatch):
    """The second waits for the trial of the first, which dies."""
    started, died = threading.Event(), []

    def train(run, callbacks=()):
        if not died:
            died.append(run.out)
            started.set()
            time.sleep(0.3)
            raise KeyboardInterrupt
        return pretend(run, callbacks)

    monkeypatch.setattr(run_module, "_train", train)
    config = study(1)

    def die() -> None:
        with pytest.raises(KeyboardInterrupt):
            tune(config)

    first = threading.Thread(target=die, daemon=True)
    first.start()
    started.wait(timeout=60)
    assert tune(config)["trials"] == {"complete": 1}
    first.join(timeout=60)


def test_real_trials_leave_the_best_trained_with_other_seeds(tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 400, "validation": 100, "test": 100})
    config = TuneConfig.read(
        overrides=[
            *("epochs=2", "learning_rate=0.05", "schedule=constant"),
            *("dropout=0", "embedding_l2=0", "linear_l2=0", "embeddings_initializer=0.1"),
        ],
        data=data,
        model="FM",
        out=str(tmp_path / "study"),
        trials=1,
        seeds=2,
    )
    assert set(config.space) == {"batch_size", "table_decay", "dim"}
    report = tune(config)
    assert report["trials"] == {"complete": 1}
    for split in ("validation", "test"):
        mean, deviation = report["seeds"][split]["auc"]
        assert mean > 0.6
        assert deviation > 0
    for trial in (tmp_path / "study" / "trials").iterdir():
        names = {path.name for path in trial.iterdir()}
        assert {"config.yaml", "history.csv", "metrics.json", "log.txt"} <= names
        assert not {"model.keras", "checkpoints"} & names
    for seed in (1, 2):
        _, _, run = load_run(str(tmp_path / "study" / "finalists" / "0000" / f"seed-{seed}"))
        assert run.seed == seed
        tried = {"batch_size": run.batch_size, "table_decay": run.table_decay}
        assert {**tried, "dim": run.model_args["dim"]} == report["settings"]
