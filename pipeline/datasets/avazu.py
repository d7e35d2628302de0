"""Avazu's click log (the Kaggle challenge of 2014)."""

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.features.declarations import Group, TimePart
from pipeline.datasets.base import Dataset, with_crosses
from pipeline.parsing.delimited import Delimited

_SITE_AND_APP = ("site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category")
_DEVICE = ("device_id", "device_ip", "device_model", "device_type", "device_conn_type")
_ANONYMOUS = tuple(f"C{i}" for i in range(14, 22))
_COLUMNS = ("id", "click", "hour", "C1", "banner_pos", *_SITE_AND_APP, *_DEVICE, *_ANONYMOUS)
_GROUPS: dict[str, Group] = {"site": "context", "app": "context", "device": "user"}
_TIME_PARTS: tuple[TimePart, ...] = ("day", "hour", "weekday")


def avazu_features(min_count: int = 5) -> FeatureSet:
    """24 categories: the time's day, hour and weekday and all columns but the row's id.

    AutoInt's 23 fields keep the id, which is always out of vocabulary, and the time as one value;
    this is the clean variant.

    Args:
        min_count: int. Categories seen in fewer training rows are out of vocabulary.
            Defaults to `5`.
    """
    plain = [name for name in _COLUMNS if name not in ("id", "click", "hour")]
    return FeatureSet(
        *(
            Categorical(part, column="hour", time_part=part, min_count=min_count, group="context")
            for part in _TIME_PARTS
        ),
        *(
            Categorical(name, min_count=min_count, group=_GROUPS.get(name.split("_")[0]))
            for name in plain
        ),
        label=Label("click"),
    )


def avazu() -> Dataset:
    """The challenge's train.csv, plain or gzip."""
    return Dataset("avazu", avazu_features(), Delimited(_COLUMNS))


def avazu_min_count() -> Dataset:
    """As `avazu`, of values that 20 training rows have (AutoFIS, Section 4.1.1, and AIM)."""
    return Dataset("avazu-min-count", avazu_features(min_count=20), Delimited(_COLUMNS))


def avazu_crossed() -> Dataset:
    """As `avazu`, with all 276 pairs of fields crossed, as OptInter has them (Section III-A)."""
    features = with_crosses(avazu_features(), min_count=1)
    return Dataset("avazu-crossed", features, Delimited(_COLUMNS))
