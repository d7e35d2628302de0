"""The files of a prepared folder that hold its statistics."""

from apache_beam.io.filesystems import FileSystems

from ctr_keras.features import FeatureSet
from pipeline.statistics import FILE
from pipeline.statistics.columns import Counted
from pipeline.statistics.protos import SCHEMA_FILE, STATISTICS_FILE, to_schema, to_statistics
from pipeline.statistics.summary import summarize
from pipeline.storage import write_json


def write_statistics(counted: Counted | None, features: FeatureSet, folder: str) -> None:
    """Writes `statistics.json`, and for tools of TensorFlow Data Validation `statistics.pb` and
    `schema.pbtxt`."""
    summary = summarize(counted, features)
    write_json(summary, FileSystems.join(folder, FILE))
    with FileSystems.create(FileSystems.join(folder, STATISTICS_FILE)) as file:
        file.write(to_statistics(summary))
    with FileSystems.create(FileSystems.join(folder, SCHEMA_FILE)) as file:
        file.write(to_schema(summary).encode())
