"""The penalty of a tower's kernels that a run takes where none is set."""

from typing import Any

from ctr_keras.training.config import TrainConfig

_MODELS = ("DeepFM", "IPNN")  # AIM was measured, too: it is worse with it
_MOST, _ROWS = 3e-3, 200.0  # measured on logs of 8,000 to 600,000 rows, see docs/results.md


def model_arguments_of(config: TrainConfig, rows: int) -> dict[str, Any]:
    """The arguments of a run's model: those that are set, and a penalty that fits the rows.

    The loss is the mean over rows, so that a penalty that is worth the same next to all of them
    falls with their number: `net_l2` is 200 / rows, 0.003 at most.

    Args:
        config: TrainConfig.
        rows: int. Those of the training split.

    Example:

    >>> config = TrainConfig("data", "DeepFM", "run", model_args={"dim": 8})
    >>> model_arguments_of(config, rows=10_000), model_arguments_of(config, rows=1_000_000)
    ({'dim': 8, 'net_l2': 0.003}, {'dim': 8, 'net_l2': 0.0002})
    """
    arguments = dict(config.model_args)
    if config.model in _MODELS:
        arguments.setdefault("net_l2", min(_MOST, _ROWS / rows))
    return arguments
