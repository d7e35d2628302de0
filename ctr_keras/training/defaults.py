"""What a run takes by its model and its rows where nothing is set: how much its tables forget, and
the penalty of its tower. docs/results.md says what they were measured on.
"""

from typing import Any

from ctr_keras.models import model_arguments

_TABLE_DECAY = 0.5  # with a tower
_OTHER_TABLE_DECAYS = {"AIM": 0.0, "AutoInt": 0.25}  # AIM, of gated interactions, is worse with it
_MOST, _ROWS = 3e-3, 200.0  # of the penalty: on logs of 8,000 to 600,000 rows
_NO_PENALTY = ("AIM", "AutoIntPlus")  # AIM is worse with it, AutoInt+ was chosen without


def has_tower(model: str) -> bool:
    """Whether a model has DeepFM's tower, normalized by batch unless something else is set.

    Such a model learns rare values by heart in a few epochs; factorization machines, which learn
    for more of them, are worse for what holds it back.

    Example:

    >>> has_tower("DeepFM"), has_tower("FM"), has_tower("DIN")
    (True, False, False)
    """
    return bool(model_arguments(model).get("normalization") == "batch")


def auto_table_decay(model: str) -> float:
    """The share of every row of its tables that a model forgets in an epoch.

    Example:

    >>> auto_table_decay("DCNv2"), auto_table_decay("AutoInt"), auto_table_decay("FM")
    (0.5, 0.25, 0.0)
    """
    return _OTHER_TABLE_DECAYS.get(model, _TABLE_DECAY if has_tower(model) else 0.0)


def auto_penalty(model: str, rows: int) -> dict[str, Any]:
    """The penalty of a tower's kernels as an argument of the model; none of one without.

    The loss is the mean over rows, so that a penalty that is worth the same next to all of them
    falls with their number: `net_l2` is 200 / rows, 0.003 at most.

    Args:
        model: str. Its name.
        rows: int. Those of the training split.

    Example:

    >>> auto_penalty("DeepFM", rows=10_000), auto_penalty("DeepFM", rows=1_000_000)
    ({'net_l2': 0.003}, {'net_l2': 0.0002})
    """
    is_penalized = has_tower(model) and model not in _NO_PENALTY
    return {"net_l2": min(_MOST, _ROWS / rows)} if is_penalized else {}
