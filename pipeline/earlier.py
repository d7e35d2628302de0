"""An earlier prepared folder, like which new rows are prepared.

It keeps its declaration: `dataset.yaml` is the YAML file that it was prepared by, and built-in data
sets are known by the name in its report.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator

from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import NUMBERS_FILE
from ctr_keras.files import copy_file, exists, files_below, find, is_remote
from ctr_keras.partitions import prepared_report
from pipeline.datasets import DATASETS, is_declared
from pipeline.datasets.base import Dataset
from pipeline.datasets.declared import load_dataset
from pipeline.splits import Split
from pipeline.storage import REPORT

DECLARATION = "dataset.yaml"
TRANSFORM_PARTS = ("transform_fn", "transformed_metadata")
_NEEDED = (DECLARATION, REPORT, NUMBERS_FILE, "features.json", *TRANSFORM_PARTS)


@contextlib.contextmanager
def at_hand(earlier: str | None) -> Iterator[str | None]:
    """An earlier folder on the disk: itself, or what new rows need of one at an address."""
    if earlier is None or not is_remote(earlier):
        yield earlier
        return
    if not exists(os.path.join(earlier, REPORT)):
        raise FileNotFoundError(f"{earlier} holds no prepared data: there is no {REPORT}")
    with tempfile.TemporaryDirectory() as folder:
        copy_needed(earlier, folder)
        yield folder


def copy_needed(earlier: str, target: str) -> None:
    """Copies what new rows need of an earlier folder, which is all but examples and statistics."""
    for name in _NEEDED:
        path = os.path.join(earlier, name)
        for file in find(path) or files_below(path):
            copy_file(file.path, os.path.join(target, os.path.relpath(file.path, earlier)))


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
    if (features.features[: len(own.features)], features.tasks) != (own.features, own.tasks):
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
