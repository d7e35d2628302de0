"""What a run takes by its model and its data where nothing is set: how much its tables forget, the
penalty of its tower, and how it embeds numbers. docs/results.md says what they were measured on.
"""

from typing import Any

from ctr_keras.features import FeatureSet, Numeric
from ctr_keras.models.interactions import fields_of_plan
from ctr_keras.presets import IN_ORDER, PENALIZED
from ctr_keras.types import Settings

# Models whose tower learns rare values by heart, and that were measured to be better for what holds
# it back. The first have a penalty, too; AIM and MaskNet, which weigh what their towers read, are
# worse for one. FM and FwFM are worse for tables that forget.
_FORGETTING = (
    *PENALIZED,
    *("AFN", "AIM", "AOANet", "AutoInt", "AutoIntPlus", "CIN", "DCN", "DeepCrossing", "DLRM"),
    *("EDCN", "FiBiNET", "FinalNet", "FNN", "GDCN", "MaskNet", "NFM", "ONN", "OPNN", "PIN"),
)
_FORGOTTEN = 0.97
_MOST, _ROWS = 3e-3, 200.0  # of the penalty: on logs of 8,000 to 600,000 rows


def auto_table_decay(model: str) -> float:
    """The share that a model forgets in an epoch of a row that is read once in it.

    Example:

    >>> auto_table_decay("DCNv2"), auto_table_decay("AutoInt"), auto_table_decay("FM")
    (0.97, 0.97, 0.0)
    """
    return _FORGOTTEN if model in _FORGETTING else 0.0


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
    return {"net_l2": min(_MOST, _ROWS / rows)} if model in PENALIZED else {}


def auto_numbers(model: str, features: FeatureSet, given: Settings) -> dict[str, Any]:
    """How numbers in buckets are embedded, as an argument of the model, where there are several.

    A single number among categories was not better for it.

    Args:
        model: str. Its name.
        features: FeatureSet.
        given: dict. Its arguments: of a plan of fields these alone count.

    Example:

    >>> from ctr_keras.features import Label
    >>> numbers = (Numeric(name, scale="quantiles", buckets=9) for name in ("price", "age"))
    >>> features = FeatureSet(*numbers, label=Label("y"))
    >>> auto_numbers("DeepFM", features, {}), auto_numbers("FM", features, {})
    ({'numeric_embedding': 'ordered'}, {})
    """
    kept = fields_of_plan(given.get("interactions"))
    buckets = [feature.name for feature in features.categorical if isinstance(feature, Numeric)]
    count = sum(kept is None or name in kept for name in buckets)
    return {"numeric_embedding": "ordered"} if model in IN_ORDER and count > 1 else {}
