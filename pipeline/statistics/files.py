"""The files of a prepared folder that hold its statistics."""

import os

from ctr_keras.features import FeatureSet
from ctr_keras.files import open_output, write_json
from pipeline.statistics import FILE
from pipeline.statistics.columns import Counted
from pipeline.statistics.protos import SCHEMA_FILE, STATISTICS_FILE, to_schema, to_statistics
from pipeline.statistics.summary import summarize


def write_statistics(counted: Counted | None, features: FeatureSet, folder: str) -> None:
    """Writes `statistics.json`, and for tools of TensorFlow Data Validation `statistics.pb` and
    `schema.pbtxt`."""
    summary = summarize(counted, features)
    write_json(summary, os.path.join(folder, FILE))
    with open_output(os.path.join(folder, STATISTICS_FILE)) as file:
        file.write(to_statistics(summary))
    with open_output(os.path.join(folder, SCHEMA_FILE)) as file:
        file.write(to_schema(summary).encode())
