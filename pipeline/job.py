"""The Beam job: raw logs in, TFRecords and the transform graph out."""

import contextlib
import dataclasses
import io
import logging
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapterConfig

from ctr_keras.features import GROUP, FeatureSet
from ctr_keras.features.statistics import NUMBERS_FILE
from ctr_keras.files import move, read_json, write_json
from pipeline.batches import KEY, SPLIT, in_column_order, only_split, read_rows
from pipeline.counts import count_users, distinct, widest
from pipeline.datasets.base import Dataset
from pipeline.earlier import TRANSFORM_PARTS, copy_needed
from pipeline.growth import grow_transform
from pipeline.numbers import read_numbers
from pipeline.preprocessing import make_preprocessing_fn
from pipeline.progress import shown
from pipeline.records import write_examples, write_shards
from pipeline.report import write_rejected
from pipeline.runners import checked_shared, only_translates, pipeline_options, runs_here
from pipeline.samples import sample, write_sample_rows
from pipeline.sources import Chunk, SourceFile
from pipeline.splits import SPLITS, LastSplit
from pipeline.statistics.files import write_statistics
from pipeline.statistics.step import CountFeatures
from pipeline.storage import Output
from pipeline.vocabulary import read_sizes

# They log the errors of workers here, and one of them prints them, which come back as one error.
_LOGGERS = ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker")
_IN_VAIN = "cache key varies"  # TensorFlow Transform warns of a cache, which is not used here
_ERROR = re.compile(r"[A-Za-z_][\w.]*: ")  # a line that begins with the name of a class
_OUTER = re.compile(r"^([A-Za-z_][\w.]*Error: )+(?=[A-Za-z_][\w.]*Error: )")
_STEP = re.compile(r" \[while running '.*")
# Whose messages need no name; the first one is what TensorFlow says of a full disk.
_SPEAKING = ("ResourceExhaustedError", "OSError", "SourceError", "ValueError")
_SHARD_BYTES = 64 * 2**20  # of source
_MIN_SHARDS = 8


class JobError(RuntimeError):
    """The job has failed. The message is the cause, in one line, and where the traceback is."""


def run_job(
    dataset: Dataset,
    source: str,
    files: list[SourceFile],
    output: Output,
    beam_options: Sequence[str],
    earlier: str | None = None,
    grows: bool = False,
) -> tuple[dict[str, int], FeatureSet, dict[str, list[float]]] | None:
    """Runs the job, which leaves all but the report in `output.partial`.

    Args:
        dataset, source, files: what to prepare.
        output: Output. Where to.
        beam_options: list of str.
        earlier: str or None. The prepared folder whose transform the rows get.
        grows: bool. Whether its vocabularies grow by the training rows.

    Returns:
        The numbers of rows for `report.summarize`, the features with the sizes of their
        vocabularies, and what was learned of numbers. None if the options ask for its translation
        alone.

    Raises:
        JobError: whatever happens.
    """
    options = pipeline_options(beam_options)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("absl").addFilter(_is_of_use)
    printed = io.StringIO()
    quiet = contextlib.redirect_stderr(printed) if runs_here(options) else contextlib.nullcontext()
    try:
        with output.work_folder(is_shared=not runs_here(options)) as work:
            if earlier and not runs_here(options):  # whose disk the workers do not see
                copy_needed(earlier, os.path.join(work, "earlier"))
                earlier = os.path.join(work, "earlier")
            job = Job(dataset, source, files, output.partial, work, earlier, grows)
            write_json(output.path, job.probe)
            with shown(sys.stderr), quiet, beam.Pipeline(options=options) as pipeline:
                job.build(pipeline)
            if only_translates(options):
                return None
            counts = read_json(job.counts)
            transform_fn = os.path.join(job.transform, "transform_fn")
            known = dataset.features
            filled_in = known.grown_to if earlier else known.with_vocabulary_sizes
            features = filled_in(read_sizes(transform_fn))
            numbers = read_numbers(transform_fn, features)
            for part in TRANSFORM_PARTS:
                move(os.path.join(job.transform, part), os.path.join(output.partial, part))
    except Exception as error:
        kept = output.keep_traceback(error, printed.getvalue())
        raise JobError(f"{cause(error)}{kept}") from None
    sys.stderr.write(printed.getvalue())
    return counts, features, numbers


def _is_of_use(record: logging.LogRecord) -> bool:
    return _IN_VAIN not in str(record.msg)


def cause(error: BaseException) -> str:
    """What an error of Beam comes from, in one line.

    A worker's error arrives as the text of its traceback, whose last line has the error that was
    raised, below the names of those around it and with the step in which it was.

    Example:

    >>> cause(RuntimeError("Traceback:\\nRuntimeError: EOFError: cut off [while running 'Parse']"))
    'EOFError: cut off'
    """
    lines = [line for line in str(error).splitlines() if _ERROR.match(line)]
    text = _STEP.sub("", lines[-1]) if lines else f"{type(error).__name__}: {error}"
    text = _OUTER.sub("", " ".join(text.split()))
    name, _, message = text.partition(": ")
    return message if name.rpartition(".")[2] in _SPEAKING else text


@dataclasses.dataclass(frozen=True)
class Job:
    """What to prepare."""

    dataset: Dataset
    source: str  # as the user named it
    files: list[SourceFile]
    folder: str  # where to write examples, samples and rejected rows
    work: str  # what the workers share meanwhile
    earlier: str | None = None  # the prepared folder whose transform the rows get
    grows: bool = False  # whether its vocabularies grow by the training rows

    @property
    def counts(self) -> str:
        """The file with the numbers of rows."""
        return os.path.join(self.work, "counts.json")

    @property
    def probe(self) -> str:
        """A file that the workers have to see before they do anything."""
        return os.path.join(self.work, "probe.json")

    @property
    def transform(self) -> str:
        """The folder with the transform graph."""
        return os.path.join(self.work, "transform")

    def build(self, pipeline: beam.Pipeline) -> None:
        """The whole graph."""
        chunks = [(Chunk(f.path, i, f.split), f.size) for i, f in enumerate(self.files)]
        files = (
            pipeline
            | "Files" >> beam.Create(chunks)
            | "Shared" >> beam.Map(checked_shared, self.probe, self.folder)
        )
        parsed, selected = files | "Rows" >> read_rows(self.dataset, self.source, "transforming")
        groups_users = self.dataset.history or isinstance(self.dataset.split, LastSplit)
        if groups_users or (self.earlier and not self.grows):
            analyzed = selected
        else:  # reading rows again is cheaper than keeping them from one pass to the next
            again = read_rows(self.dataset, self.source, "analyzing")
            _, analyzed = files | "AnalyzedRows" >> again
        transformed = self._transform(analyzed.rows, selected.rows)
        written = transformed | write_shards(
            os.path.join(self.folder, "examples"),
            self._shards(),
            os.path.join(self.work, "packets"),
        )
        columns = list(self.dataset.features.raw_columns)
        _ = (
            selected.rows
            | "SampleRows" >> sample()
            | beam.Map(write_sample_rows, columns, os.path.join(self.folder, "samples.jsonl"))
        )
        _ = (
            selected.rows
            | "CountFeatures" >> beam.CombineGlobally(CountFeatures(self.dataset.features))
            | "Statistics" >> beam.Map(write_statistics, self.dataset.features, self.folder)
        )
        _ = (
            transformed
            | "SampleExamples" >> sample()
            | beam.Map(write_examples, os.path.join(self.folder, "samples.tfrecord.gz"))
        )
        _ = parsed.rejected | "WriteRejected" >> beam.Map(
            write_rejected, beam.pvalue.AsDict(parsed.lines), os.path.join(self.folder, "rejected")
        )
        written |= beam.MapTuple(lambda split, count: (f"written: {split}", count))
        spans = selected.spans | "Spans" >> beam.CombinePerKey(widest)
        spans |= "FirstAndLast" >> beam.FlatMapTuple(
            lambda split, span: zip((f"first: {split}", f"last: {split}"), span, strict=True)
        )
        users = selected.users | "Users" >> beam.CombinePerKey(distinct) | beam.Values()
        users |= "CountUsers" >> beam.FlatMap(count_users)
        _ = (
            (parsed.counts, selected.counts, written, spans, users)
            | "AllCounts" >> beam.Flatten()
            | "Sum" >> beam.CombinePerKey(sum)
            | "ToDict" >> beam.combiners.ToDict()
            | "WriteCounts" >> beam.Map(write_json, self.counts)
        )

    def _transform(self, analyzed: beam.PCollection, rows: beam.PCollection) -> beam.PCollection:
        """Transforms every row by what is learned of the training split, or was learned of an
        earlier one; both inputs hold all rows."""
        features = self.dataset.features
        config = adapter_config(features)
        with tft_beam.Context(
            temp_dir=os.path.join(self.work, "analysis"),
            passthrough_keys={*passed_through(features)},
        ):
            transform = self._learned(analyzed, config)
            apply = tft_beam.TransformDataset(output_record_batches=True)
            transformed, _ = ((rows, config), transform) | "Transform" >> apply
            _ = transform | "WriteTransform" >> tft_beam.WriteTransformFn(self.transform)
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
                self.dataset.features, numbers, folder, os.path.join(self.work, "grown")
            )
            graph = rows | train | grow
        return graph, metadata

    def _shards(self) -> dict[str, int]:
        """The number of shards of each split."""
        source_bytes = sum(file.size for file in self.files)
        train = max(_MIN_SHARDS, math.ceil(source_bytes / _SHARD_BYTES))
        return {split: train if split == "train" else train // _MIN_SHARDS for split in SPLITS}


def passed_through(features: FeatureSet) -> dict[str, pa.DataType]:
    """The columns that TensorFlow Transform leaves alone."""
    label = features.label
    numbers = {name: pa.float32() for name in (*features.label_names, label.weight) if name}
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
