"""Figures of comparisons: which lines are drawn, and labels that can be read."""

import itertools
import types

import pytest

from ctr_keras.compare import figures
from ctr_keras.compare.runs import Scored

EARLIER = [
    {"round": n, "train_loss": 0.5, "validation_log_loss": 0.4, "seconds": 9.0} for n in range(1, 6)
]
HISTORY = [row | {"train_log_loss": 0.3} for row in EARLIER]


def comparison(*entries):
    """Of entries with these histories, or these parameters and seconds."""
    made = []
    for number, entry in enumerate(entries):
        history, costs = (entry, (1, 1)) if isinstance(entry, list) else (HISTORY, entry)
        run = Scored("run", {"seed": 0}, history, costs[0], None)
        made.append(
            types.SimpleNamespace(
                name=f"model {number}", runs=[run], parameters=costs[0], seconds=costs[1]
            )
        )
    return types.SimpleNamespace(entries=made)


def dotted(figure):
    return sum(line.get_linestyle() == ":" for line in figure.axes[0].get_lines())


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_training_loss_that_is_no_log_loss_is_not_drawn_as_one():
    """Runs of earlier versions have what they minimized alone: with penalties, of pairs, ..."""
    alone = figures.learning_curves(comparison(EARLIER))
    assert dotted(alone) == 0
    assert legend(alone) == ["model 0", "validation"]
    both = figures.learning_curves(comparison(EARLIER, HISTORY))
    assert dotted(both) == 1
    assert legend(both) == ["model 0", "model 1", "validation", "training"]


@pytest.mark.parametrize(
    "costs",
    [
        [(12_000, 12), (34_000, 44), (56_000, 71)],
        [(12_000, 30), (12_100, 33), (13_000, 40)],
        [(100, 1.2), (340_000, 44), (5_600_000, 1710)],
        [(12_000, 3)],
    ],
)
def test_labels_of_costs_do_not_lie_on_each_other(costs):
    figure = figures.costs(comparison(*costs))
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
        labels = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert len(boxes) >= 2
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
