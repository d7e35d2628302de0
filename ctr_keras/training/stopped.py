"""A run that was stopped: its best model so far, and how it stands."""

import json
import os

from ctr_keras.runs import Checkpoints, Row
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.trees_config import TreesConfig

BEST = "best.keras"  # in a checkpoint
_SHOWN = {"log_loss": "log loss", "auc": "AUC", "auc_by_group": "AUC by group"}


def checkpoints_of(run: str) -> Checkpoints:
    """The checkpoints of a run, which are there until it has ended."""
    return Checkpoints(os.path.join(run, "checkpoints"))


def loss_of(row: Row, config: TrainConfig) -> float:
    """By which the rounds of a history are compared."""
    value = float(row[f"validation_{config.monitor}"])
    return value if config.monitor == "log_loss" else -value


def description_of(row: Row, config: TrainConfig) -> str:
    """What a round has reached, in a few words; of several labels, the mean over them."""
    shown = {name: row.get(f"validation_{name}") for name in _SHOWN}
    weight = config.sample_weight
    labels = sum(name.startswith("validation_log_loss_") for name in row)
    parts = [
        "validation",
        *([f"weighted by {weight}"] if weight else []),
        *([f"mean of {labels} labels"] if labels else []),
    ]
    of_rows = f"{', '.join(parts)}: " if len(parts) > 1 else "validation "
    return of_rows + ", ".join(
        f"{_SHOWN[name]} {value:.5f}" for name, value in shown.items() if value is not None
    )


def how_it_stands(config: TrainConfig | TreesConfig) -> str:
    """What there is of a run that was stopped, and how to go on, in two sentences.

    Args:
        config: TrainConfig or TreesConfig, that of the run.

    Example:

    >>> how_it_stands(TrainConfig(data="d", model="FM", out="no/run"))
    'No round had ended. The same command starts over.'
    """
    found = best_so_far(config.out, config) if isinstance(config, TrainConfig) else None
    if found is None:
        return "No round had ended. The same command starts over."
    return (
        f"The {found[1]}. The same command goes on, also with other epochs or patience; evaluate, "
        "explain and export take the best round so far."
    )


def best_so_far(run: str, config: TrainConfig) -> tuple[str, str] | None:
    """The best model's file of a run that has not ended, and what it has reached, in a few words.

    None if no round has ended.
    """
    last = checkpoints_of(run).last
    if last is None:
        return None
    with open(os.path.join(last, "state.json"), encoding="utf-8") as file:
        history = json.load(file)["history"]
    best = min(history, key=lambda row: loss_of(row, config))
    rounds = f"{len(history)} rounds" if len(history) > 1 else "one round"
    reached = f"best of {rounds}: {description_of(best, config)}"
    return os.path.join(last, BEST), reached
