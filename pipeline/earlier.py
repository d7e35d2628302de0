"""An earlier prepared folder, like which new rows are prepared.

It keeps its declaration: `dataset.yaml` is the YAML file that it was prepared by, and built-in data
sets are known by the name in its report.
"""

import dataclasses
import os

from ctr_keras.features import FeatureSet
from ctr_keras.partitions import prepared_report
from pipeline.datasets import DATASETS, is_declared
from pipeline.datasets.base import Dataset
from pipeline.datasets.declared import load_dataset
from pipeline.splits import Split

DECLARATION = "dataset.yaml"


def dataset_like(
    earlier: str, split: Split | None = None, declared: Dataset | None = None
) -> Dataset:
    """The data set of an earlier prepared folder, with the features that this has, for new rows.

    Args:
        earlier: the folder.
        split: instead of the declared one, whose columns the new rows need not have then.
        declared: what it was prepared from, where that is neither built in nor a YAML file.

    Raises:
        FileNotFoundError: if the folder holds no prepared data.
        ValueError: if the data set is not what it was.
    """
    name = prepared_report(earlier)["dataset"]
    path = os.path.join(earlier, DECLARATION)
    if declared is None and os.path.exists(path):
        declared = load_dataset(path, split)
    elif declared is None and name in DATASETS:
        declared = DATASETS[name]()
    elif declared is None:
        raise ValueError(
            f"{earlier} was prepared from a declaration in Python: give it to `prepare` once more"
        )
    features = FeatureSet.load(os.path.join(earlier, "features.json"))
    own = declared.features
    if (features.features[: len(own.features)], features.label) != (own.features, own.label):
        raise ValueError(f"{earlier} was prepared with other features than {name} has now")
    return dataclasses.replace(
        declared, name=name, features=features, split=split or declared.split
    )


def warnings_of(dataset: Dataset) -> list[str]:
    """What to look at where new rows of a data set are prepared without the earlier ones."""
    if not dataset.history:
        return []
    column = dataset.history.column
    return [
        f"column {column!r} is made of the new rows alone: earlier items of users are not known"
    ]


def declaration_file(dataset: str | Dataset | None, earlier: str | None) -> str | None:
    """The YAML file that declares a data set, or that of an earlier folder, if there is one."""
    if isinstance(dataset, str) and is_declared(dataset):
        return dataset
    path = os.path.join(earlier, DECLARATION) if earlier else ""
    return path if os.path.exists(path) else None
