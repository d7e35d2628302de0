"""The Beam job: raw logs in, TFRecords and the transform graph out."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapterConfig

from ctr_keras.features import GROUP, FeatureSet
from ctr_keras.features.statistics import NUMBERS_FILE
from pipeline.batches import KEY, SPLIT, in_column_order, only_split, read_rows
from pipeline.datasets.base import Dataset
from pipeline.growth import grow_transform
from pipeline.preprocessing import make_preprocessing_fn
from pipeline.records import write_examples, write_shards
from pipeline.report import sample, write_rejected, write_sample_rows
from pipeline.sources import Chunk
from pipeline.splits import SPLITS, LastSplit
from pipeline.statistics.columns import CountFeatures
from pipeline.statistics.files import write_statistics
from pipeline.storage import delete, read_json, write_json

# Beam's own default would first try to fetch another runner from the network. A second thread uses
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
    # Beam 2.77's local runner flushes what goes from step to step every second, from a thread of
    # its own, and loses what is written meanwhile. With 0 only the writer flushes. No other runner
    # reads this, and which ones end in the local one only Beam knows (`DirectRunner` does, where
    # Prism is not to be had), so it is set whatever the runner.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    options = PipelineOptions(list(given))
    if options.view_as(StandardOptions).runner is not None:
        return options
    return PipelineOptions([*_LOCAL_OPTIONS, *given])  # the last of two counts


@dataclasses.dataclass(frozen=True)
class Job:
    """What to prepare."""

    dataset: Dataset
    source: str  # as the user named it
    files: list[tuple[str, int, str | None]]  # path, bytes, split (None if rows are split)
    folder: str  # where to write
    earlier: str | None = None  # the prepared folder whose transform the rows get
    grows: bool = False  # whether its vocabularies grow by the training rows

    def run(self, beam_options: Sequence[str]) -> dict[str, int]:
        """Runs the job; the numbers of rows, for `report.summarize`."""
        with beam.Pipeline(options=pipeline_options(beam_options)) as pipeline:
            self._build(pipeline)
        counts: dict[str, int] = read_json(self._path("tmp", "counts.json"))
        delete(self._path("tmp/"))
        return counts

    def _path(self, *parts: str) -> str:
        return str(FileSystems.join(self.folder, *parts))

    def _build(self, pipeline: beam.Pipeline) -> None:
        """The whole graph."""
        files = [(Chunk(path, i, split), size) for i, (path, size, split) in enumerate(self.files)]
        parsed, selected = pipeline | "Rows" >> read_rows(self.dataset, self.source, files)
        groups_users = self.dataset.history or isinstance(self.dataset.split, LastSplit)
        if groups_users or (self.earlier and not self.grows):
            analyzed = selected
        else:  # reading rows again is cheaper than keeping them from one pass to the next
            _, analyzed = pipeline | "AnalyzedRows" >> read_rows(self.dataset, self.source, files)
        transformed = self._transform(analyzed.rows, selected.rows)
        written = transformed | write_shards(
            self._path("examples"), self._shards(), self._path("tmp", "packets")
        )
        columns = list(self.dataset.features.raw_columns)
        _ = (
            selected.rows
            | "SampleRows" >> sample()
            | beam.Map(write_sample_rows, columns, self._path("samples.jsonl"))
        )
        _ = (
            selected.rows
            | "CountFeatures" >> beam.CombineGlobally(CountFeatures(self.dataset.features))
            | "Statistics" >> beam.Map(write_statistics, self.dataset.features, self.folder)
        )
        _ = (
            transformed
            | "SampleExamples" >> sample()
            | beam.Map(write_examples, self._path("samples.tfrecord.gz"))
        )
        _ = parsed.rejected | "WriteRejected" >> beam.Map(
            write_rejected, beam.pvalue.AsDict(parsed.lines), self._path("rejected")
        )
        written |= beam.MapTuple(lambda split, count: (f"written: {split}", count))
        _ = (
            (parsed.counts, selected.counts, written)
            | "AllCounts" >> beam.Flatten()
            | "Sum" >> beam.CombinePerKey(sum)
            | "ToDict" >> beam.combiners.ToDict()
            | "WriteCounts" >> beam.Map(write_json, self._path("tmp", "counts.json"))
        )

    def _transform(self, analyzed: beam.PCollection, rows: beam.PCollection) -> beam.PCollection:
        """Transforms every row by what is learned of the training split, or was learned of an
        earlier one; both inputs hold all rows."""
        features = self.dataset.features
        config = adapter_config(features)
        with tft_beam.Context(
            temp_dir=self._path("tmp", "transform"),
            passthrough_keys={*passed_through(features)},
        ):
            transform = self._learned(analyzed, config)
            apply = tft_beam.TransformDataset(output_record_batches=True)
            transformed, _ = ((rows, config), transform) | "Transform" >> apply
            _ = transform | "WriteTransform" >> tft_beam.WriteTransformFn(self.folder)
        return transformed | "Batches" >> beam.Keys() | "Ordered" >> beam.Map(in_column_order)

    def _learned(self, rows: beam.PCollection, config: TensorAdapterConfig) -> tuple[Any, Any]:
        """The transform graph and its metadata: of the training rows, or the earlier one."""
        train = "TrainRows" >> beam.FlatMap(only_split, "train")
        if self.earlier is None:
            analyze = tft_beam.AnalyzeDataset(make_preprocessing_fn(self.dataset.features))
            graph, metadata = (rows | train, config) | "Analyze" >> analyze
            return graph, metadata
        graph, metadata = rows.pipeline | tft_beam.ReadTransformFn(self.earlier)
        if self.grows:
            folder = os.path.join(self.earlier, "transform_fn")
            numbers = read_json(os.path.join(self.earlier, NUMBERS_FILE))
            grow = grow_transform(
                self.dataset.features, numbers, folder, self._path("tmp", "grown")
            )
            graph = rows | train | grow
        return graph, metadata

    def _shards(self) -> dict[str, int]:
        """The number of shards of each split."""
        source_bytes = sum(size for _, size, _ in self.files)
        train = max(_MIN_SHARDS, math.ceil(source_bytes / _SHARD_BYTES))
        return {split: train if split == "train" else train // _MIN_SHARDS for split in SPLITS}


def passed_through(features: FeatureSet) -> dict[str, pa.DataType]:
    """The columns that TensorFlow Transform leaves alone."""
    label = features.label
    numbers = {name: pa.float32() for name in (label.name, label.weight) if name}
    groups = {GROUP: pa.int64()} if label.group else {}
    return {**numbers, **groups, KEY: pa.int64(), SPLIT: pa.int64()}


def adapter_config(features: FeatureSet) -> TensorAdapterConfig:
    """How TensorFlow Transform turns a record batch's columns into tensors."""
    kinds = {"string": pa.string(), "float": pa.float32()}
    columns = {name: kinds[kind] for name, kind in features.raw_columns.items()}
    representations = {
        name: schema_pb2.TensorRepresentation(dense_tensor={"column_name": name, "shape": {}})
        for name in columns
    }
    columns |= passed_through(features)
    schema = pa.schema([(name, pa.list_(kind)) for name, kind in sorted(columns.items())])
    return TensorAdapterConfig(schema, representations)
