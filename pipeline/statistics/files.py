"""The files of a prepared folder that hold its statistics."""

import os

from ctr_keras.features import FeatureSet
from ctr_keras.files import exists, open_output, read_json, write_json
from ctr_keras.mirrors import local_copy
from ctr_keras.partitions import partitions
from pipeline.statistics import FILE
from pipeline.statistics.counted import Counted, read_counted, write_counted
from pipeline.statistics.protos import SCHEMA_FILE, STATISTICS_FILE, to_schema, to_statistics
from pipeline.statistics.summary import Summary, summarize

COUNTED_FILE = "statistics.parquet"


def write_statistics(counted: Counted | None, features: FeatureSet, folder: str) -> None:
    """Writes `statistics.json`, for tools of TensorFlow Data Validation `statistics.pb` and
    `schema.pbtxt`, and `statistics.parquet`, from which those of several folders are merged."""
    summary = summarize(counted, features)
    if counted is not None:
        write_counted(counted, os.path.join(folder, COUNTED_FILE))
    with open_output(os.path.join(folder, STATISTICS_FILE)) as file:
        file.write(to_statistics(summary))
    with open_output(os.path.join(folder, SCHEMA_FILE)) as file:
        file.write(to_schema(summary).encode())
    write_json(summary, os.path.join(folder, FILE))


def read_summary(folder: str) -> Summary:
    """The statistics of a prepared folder; those of a joined one are merged the first time.

    Raises:
        FileNotFoundError: if it holds no prepared data, or data of an earlier version.
    """
    path = os.path.join(folder, FILE)
    if not exists(path):
        folder = local_copy(folder)
        write_statistics(counted_of(folder), features_of(folder), folder)
        path = os.path.join(folder, FILE)
    summary: Summary = read_json(path)
    return summary


def counted_of(folder: str) -> Counted:
    """What was counted of all rows of a prepared folder, which may be a joined one.

    Raises:
        FileNotFoundError: as `read_summary`.
    """
    paths = [os.path.join(part.folder, COUNTED_FILE) for part in partitions(local_copy(folder))]
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"there is no {path}: an earlier version has prepared the data; prepare them again"
            )
    return Counted.merge([read_counted(path) for path in paths])


def features_of(folder: str) -> FeatureSet:
    """The features of a prepared folder."""
    return FeatureSet.load(os.path.join(local_copy(folder), "features.json"))
