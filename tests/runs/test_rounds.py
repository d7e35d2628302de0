"""Rounds: which is the best, what is kept of it, and when it is over."""

import keras
import numpy as np
import pytest

from ctr_keras.runs import Checkpoints, Rounds

pytestmark = pytest.mark.backend


class Scores:
    """An objective that gives the losses it is told, and keeps the number of the round."""

    def __init__(self, losses):
        self.losses = losses
        self.shown = []

    def measure(self, model, number, training, seconds):
        assert np.isfinite(training["loss"])
        assert seconds > 0
        self.number = number
        return {"round": number, "loss": self.losses[number - 1]}

    def loss(self, row):
        return row["loss"]

    def describe(self, row):
        return f"loss {row['loss']}"

    def keep(self, model, folder):
        if folder:
            with open(f"{folder}/best.txt", "w") as file:
                file.write(str(self.number))
        return {"kept": self.number}

    def show(self, history):
        self.shown = list(history)


def build():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return model


def batches(model, rounds_done):
    while True:
        yield np.ones((2, 1)), np.ones((2, 1))


def run(losses, checkpoints=None, total=None, patience=2, build=build):
    objective = Scores(losses)
    rounds = Rounds(objective, checkpoints, total=total or len(losses), patience=patience)
    rounds.run(build, batches, steps=2)
    assert objective.shown == rounds.history
    return rounds


@pytest.mark.parametrize(
    ("losses", "done", "best"),
    [
        ([3.0, 2.0, 1.0], 3, 3),
        ([1.0, 2.0, 1.0, 0.5], 3, 1),  # as good is no better
        ([2.0, 3.0, 1.0, 2.0, 2.0, 0.0], 5, 3),
        ([None, 2.0, None, 3.0, None, 1.0], 4, 2),  # rounds that are not scored count, too
        ([None, None, None], 3, 3),
    ],
)
def test_the_best_round_is_kept_and_patience_ends_the_run(losses, done, best):
    rounds = run(losses)
    assert [row["round"] for row in rounds.history] == list(range(1, done + 1))
    assert rounds.best == best
    assert rounds.kept == {"kept": best}
    assert rounds.is_over


def test_a_run_goes_on_after_its_last_checkpoint_with_the_files_of_its_best_round(tmp_path):
    def fail():
        pytest.fail("started over")

    checkpoints = Checkpoints(str(tmp_path / "checkpoints"))
    losses = [3.0, 1.0, 2.0, 1.5, 0.5]
    with pytest.raises(IndexError):  # dies in the fourth round
        run(losses[:3], checkpoints, total=5, patience=9)
    assert checkpoints.last == str(tmp_path / "checkpoints" / "3")
    assert (tmp_path / "checkpoints" / "3" / "best.txt").read_text() == "2"
    rounds = run(losses, checkpoints, patience=9, build=fail)
    assert [row["loss"] for row in rounds.history] == losses
    assert rounds.best == 5
    assert (tmp_path / "checkpoints" / "5" / "best.txt").read_text() == "5"
    checkpoints.remove()
    assert checkpoints.last is None
