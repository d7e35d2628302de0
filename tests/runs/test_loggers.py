"""Callbacks by name: what they log, that a run that goes on adds to it, and mistakes."""

import contextlib
import sys
import types
from typing import ClassVar

import keras
import pytest

from ctr_keras.runs import Checkpoints, Rounds, check_callbacks, make_callbacks
from tests.runs.test_rounds import Scores, batches, build

SETTINGS = {"model": "FM", "epochs": 4}


class Recorder(keras.callbacks.Callback):
    """What a user may have."""

    seen: ClassVar = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, logs["round"], logs["loss"]))


class Demanding(keras.callbacks.Callback):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate


class FakeMLflow(types.ModuleType):
    """Keeps parameters and metrics by run, as MLflow does."""

    def __init__(self):
        super().__init__("mlflow")
        self.runs = {}

    @contextlib.contextmanager
    def start_run(self, run_id=None, run_name=None, nested=False):
        assert nested  # another run may be active
        run_id = run_id or f"id of {run_name}"
        self.active = self.runs.setdefault(run_id, {"params": {}, "metrics": []})
        yield types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id))

    def log_params(self, params):
        assert not self.active["params"]
        self.active["params"] = params

    def log_metrics(self, metrics, step):
        self.active["metrics"].append((step, metrics["loss"]))


class FakeWandB(types.ModuleType):
    """Keeps what is logged by run, as W&B does."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = {}

    def init(self, id, resume, name, dir, config):
        assert resume == "allow"
        run = self.runs.setdefault(id, {"params": config, "metrics": [], "finished": 0})

        def finish():
            run["finished"] += 1

        def log(metrics, step):
            run["metrics"].append((step, metrics["loss"]))

        return types.SimpleNamespace(log=log, finish=finish)


def run_twice(names, folder):
    """A run that dies in its third round and goes on."""
    for losses in ([4.0, 3.0], [4.0, 3.0, 2.0, 1.0]):
        checkpoints = Checkpoints(str(folder / "checkpoints"))
        rounds = Rounds(Scores(losses), checkpoints, total=4, patience=9)
        callbacks = make_callbacks(names, str(folder), SETTINGS)
        with contextlib.suppress(IndexError):
            rounds.run(build, batches, steps=2, callbacks=callbacks)
    return rounds


LOGGED = [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)]


@pytest.mark.parametrize("fake", [FakeMLflow, FakeWandB])
def test_a_run_that_goes_on_adds_to_what_it_has_logged(fake, tmp_path, monkeypatch):
    package = fake()
    name = package.__name__
    monkeypatch.setitem(sys.modules, name, package)
    (tmp_path / "run").mkdir()
    run_twice([name], tmp_path / "run")
    ((run_id, run),) = package.runs.items()
    assert run["params"] == SETTINGS
    assert run["metrics"] == LOGGED
    assert (tmp_path / "run" / f"{name}_run_id").read_text() == run_id
    if name == "wandb":
        assert run["finished"] == 1  # the first died


@pytest.mark.backend
def test_tensorboard_has_the_rounds_of_a_run_that_goes_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    run_twice(["tensorboard"], tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "train"))
    events.Reload()
    logged = [
        (e.step + 1, float(make_ndarray(e.tensor_proto))) for e in events.Tensors("epoch_loss")
    ]
    assert sorted(logged) == sorted(LOGGED)  # two files of one second come in any order


@pytest.mark.backend
def test_a_callback_of_ones_own_is_given_the_rows_of_the_history(tmp_path):
    Recorder.seen.clear()
    run_twice(["tests.runs.test_loggers:Recorder"], tmp_path)
    assert Recorder.seen == [(0, 1, 4.0), (1, 2, 3.0), (2, 3, 2.0), (3, 4, 1.0)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", "unknown callback 'tensorbord'; did you mean 'tensorboard'?"),
        ("print()", "unknown callback 'print\\(\\)'; available: mlflow, .*, module:Class"),
        ("os:system('x')", "unknown callback"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message) as error:
        check_callbacks(["mlflow", "a.b:C", name])
    assert error.value.keys == ("callbacks", 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mlflow",
            "'mlflow': mlflow is not installed: pip install 'ctr-keras\\[mlflow]'$",
        ),
        ("wandb", "'wandb': wandb is not installed: pip install 'ctr-keras\\[wandb]'$"),
        ("nowhere.at_all:C", "callback 'nowhere.at_all:C': No module named 'nowhere'; install"),
        ("json:JSONDecoder", "JSONDecoder is no class below keras.callbacks.Callback"),
        (
            "tests.runs.test_loggers:Demanding",
            "callback 'tests.runs.test_loggers:Demanding': Demanding is made without arguments: "
            "missing a required argument: 'rate'",
        ),
        ("json:Nothing", "Nothing is no class below keras.callbacks.Callback"),
    ],
)
def test_what_is_not_there_is_one_line(name, message, tmp_path, monkeypatch):
    for package in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=message) as error:
        make_callbacks([name], str(tmp_path), SETTINGS)
    assert "\n" not in str(error.value)
