"""Criteo's display advertising logs: the Kaggle challenge's and the terabyte log's layout."""

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.features.declarations import Scale
from pipeline.datasets.base import Dataset, with_crosses
from pipeline.parsing.delimited import Delimited

NUMERIC = tuple(f"I{i}" for i in range(1, 14))
CATEGORICAL = tuple(f"C{i}" for i in range(1, 27))


def criteo_features(
    min_count: int = 10, scale: Scale = "log_squared", buckets: int | None = None
) -> FeatureSet:
    """13 counts and 26 hashed categories, by default as AutoInt treats them (Section 5.1.1).

    Args:
        min_count: int. Categories seen in fewer training rows are out of vocabulary.
            Defaults to `10`.
        scale, buckets: of the counts (see `Numeric`). Default to `"log_squared"` and `None`.
    """
    return FeatureSet(
        *(Numeric(name, scale=scale, buckets=buckets) for name in NUMERIC),
        *(Categorical(name, min_count=min_count) for name in CATEGORICAL),
        label=Label("label"),
    )


TABLE = Delimited(("label", *NUMERIC, *CATEGORICAL), delimiter="\t", quoted=False, header=False)


def criteo() -> Dataset:
    """The Kaggle challenge's train.txt, plain or gzip: a file, or a folder with train*.txt*."""
    return Dataset("criteo", criteo_features(), TABLE)


def criteo_buckets() -> Dataset:
    """As `criteo`, the counts in 20 buckets, as in AutoFIS and AIM (AutoFIS, Section 4.1.1)."""
    features = criteo_features(min_count=20, scale="quantiles", buckets=20)
    return Dataset("criteo-buckets", features, TABLE)


def criteo_min_max() -> Dataset:
    """As `criteo`, the counts between 0 and 1, as in OptInter (Section III-A, Equation 20)."""
    return Dataset("criteo-min-max", criteo_features(min_count=20, scale="min_max"), TABLE)


def criteo_crossed() -> Dataset:
    """As `criteo-min-max`, with all 325 pairs of categories crossed: OptInter's features."""
    features = criteo_features(min_count=20, scale="min_max")
    return Dataset("criteo-crossed", with_crosses(features, min_count=20), TABLE)


def criteo_terabyte() -> Dataset:
    """The terabyte log's day files, plain or gzip. Its ids are hashed differently from Kaggle's."""
    return Dataset("criteo-terabyte", criteo_features(), TABLE)
