"""The Beam graph of the job: raw logs in, TFRecords and the transform graph out."""

import math
from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapterConfig

from ctr_keras.features import FeatureSet
from pipeline import rows
from pipeline.batches import KEY, SPLIT, in_column_order, only_split
from pipeline.datasets import Dataset
from pipeline.preprocessing import make_preprocessing_fn
from pipeline.records import WriteShards, write_examples
from pipeline.report import write_rejected
from pipeline.samples import _sample, _write_samples
from pipeline.sources import whole_file
from pipeline.splits import SPLITS
from pipeline.storage import _write_json

# the time in which the first waits for files or computes outside Python. To check the types of this
# one graph again in every run would only take time.
_LOCAL_OPTIONS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
    "--no_pipeline_type_check",
)
_SHARD_BYTES = 64 * 2**20  # of source
_MIN_SHARDS = 8


def pipeline_options(given: Sequence[str]) -> PipelineOptions:
    """The options given, and those of a local run if they name no runner."""
    options = PipelineOptions(list(given))
    if options.view_as(StandardOptions).runner is not None:
        return options
    # Beam 2.77 flushes what goes from step to step every second, from a thread of its own, and
    # loses what is written meanwhile. With 0 only the writer flushes.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    return PipelineOptions([*_LOCAL_OPTIONS, *given])  # the last of two counts


def _build(
    pipeline: beam.Pipeline,
    dataset: Dataset,
    source: str,
    files: list[tuple[str, int, str | None]],
    folder: str,
) -> None:
    """The whole graph of the job."""
    whole = [(whole_file(path, i, split), size) for i, (path, size, split) in enumerate(files)]
    parsed, selected = pipeline | "Rows" >> rows.ReadRows(dataset, source, whole)
    if dataset.history:
        analyzed = selected
    else:  # reading rows again is cheaper than keeping them from one pass to the next
        _, analyzed = pipeline | "AnalyzedRows" >> rows.ReadRows(dataset, source, whole)
    written = _transform(
        analyzed.rows, selected.rows, dataset, folder, sum(size for _, size, _ in files)
    )
    _write_samples(selected.rows, dataset, folder)
    lines = beam.pvalue.AsDict(parsed[rows.LINES])
    rejected = FileSystems.join(folder, "rejected")
    _ = parsed[rows.REJECTED] | "WriteRejected" >> beam.Map(write_rejected, lines, rejected)
    _ = (
        (parsed[rows.COUNTS], selected[rows.COUNTS], written | beam.MapTuple(_written_count))
        | "AllCounts" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
        | "ToDict" >> beam.combiners.ToDict()
        | "WriteCounts" >> beam.Map(_write_counts, FileSystems.join(folder, "tmp", "counts.json"))
    )


def _transform(
    analyzed: beam.PCollection,
    batches: beam.PCollection,
    dataset: Dataset,
    folder: str,
    source_bytes: int,
) -> beam.PCollection:
    """Analyzes the training split, transforms every row, writes both.

    Args:
        analyzed, batches: all rows, of which the first are read before the transform is known.
        dataset: Dataset.
        folder: str.
        source_bytes: int.

    Returns:
        (split, rows written) for each file.
    """
    label = dataset.features.label.name
    config = _adapter_config(dataset.features)
    train_shards = max(_MIN_SHARDS, math.ceil(source_bytes / _SHARD_BYTES))
    other_shards = max(1, train_shards // _MIN_SHARDS)
    shards = {split: train_shards if split == "train" else other_shards for split in SPLITS}
    temporary = FileSystems.join(folder, "tmp", "transform")
    with tft_beam.Context(temp_dir=temporary, passthrough_keys={label, KEY, SPLIT}):
        train = analyzed | "TrainRows" >> beam.FlatMap(only_split, SPLITS.index("train"))
        transform = (train, config) | "Analyze" >> tft_beam.AnalyzeDataset(
            make_preprocessing_fn(dataset.features)
        )
        transformed, _ = ((batches, config), transform) | "Transform" >> tft_beam.TransformDataset(
            output_record_batches=True
        )
        _ = transform | "WriteTransform" >> tft_beam.WriteTransformFn(folder)
    transformed = transformed | "Batches" >> beam.Keys() | "Ordered" >> beam.Map(in_column_order)
    _ = _sample(transformed, "Examples") | "WriteSampleExamples" >> beam.Map(
        write_examples, FileSystems.join(folder, "samples.tfrecord.gz")
    )
    return transformed | "WriteExamples" >> WriteShards(
        FileSystems.join(folder, "examples"), shards, FileSystems.join(folder, "tmp", "blocks")
    )


def _adapter_config(features: FeatureSet) -> TensorAdapterConfig:
    """How TensorFlow Transform turns a record batch's columns into tensors."""
    kinds = {"string": pa.string(), "float": pa.float32()}
    columns = {name: kinds[kind] for name, kind in features.raw_columns.items()}
    representations = {}
    for name in columns:
        representations[name] = schema_pb2.TensorRepresentation()
        representations[name].dense_tensor.column_name = name
        representations[name].dense_tensor.shape.SetInParent()
    columns |= {features.label.name: pa.float32(), KEY: pa.int64(), SPLIT: pa.int64()}
    schema = pa.schema([(name, pa.list_(kind)) for name, kind in sorted(columns.items())])
    return TensorAdapterConfig(schema, representations)


def _written_count(split: str, count: int) -> tuple[str, int]:
    return f"written: {split}", count


def _write_counts(counts: dict[str, int], path: str) -> None:
    _write_json(path, counts)
