"""The job: raw logs in, TFRecords and the transform graph out."""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

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
from pipeline.datasets import Dataset, find_dataset
from pipeline.preprocessing import make_preprocessing_fn
from pipeline.records import KEY, SPLIT, WriteShards, write_examples
from pipeline.sources import whole_file
from pipeline.splits import SPLITS
from pipeline.vocabulary import read_sizes

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
_SAMPLES = 1000
_PACKAGES = ("ctr-keras", "tensorflow", "tensorflow-transform", "apache-beam", "pyarrow", "numpy")


class TooManyRejectedError(RuntimeError):
    """More rows were rejected than allowed. The message says where they are."""


def prepare(
    dataset: str | Dataset,
    source: str,
    out: str,
    *,
    cross_min_count: int | None = None,
    max_rejected: float = 0.01,
    beam_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Analyzes the training split of a data set and transforms all of it to TFRecords.

    The folder appears under its name only when it is whole. A killed run leaves `<out>.partial`
    behind, which the next run clears away. Running again what has finished returns its report.

    Args:
        dataset: str or Dataset. The name of a built-in data set (`pipeline.datasets.DATASETS`), the
            path of a YAML file, or a declaration.
        source: str. File, folder or pattern of the raw logs, on any Beam file system.
        out: str. Folder to write: `features.json`, `transform_fn/`, `transformed_metadata/`,
            `examples/`, `rejected/`, `samples.jsonl` and the same rows transformed,
            `samples.tfrecord.gz`, and `report.json`.
        cross_min_count: int or None. Cross every pair of categorical columns, with pairs seen in
            fewer training rows out of vocabulary (OptInter's memorized pairs). Defaults to `None`:
            only the crossed features that are declared.
        max_rejected: float. Share of the rows that may be rejected. Defaults to `0.01`.
        beam_options: list of str. Options of Apache Beam, such as `--runner=DataflowRunner`.
            Defaults to `()`: run in this process.

    Returns:
        The contents of `report.json`.

    Raises:
        ValueError: for a wrong declaration or an empty training split.
        FileNotFoundError: if the source is not there.
        FileExistsError: if `out` holds something else.
        TooManyRejectedError: if more rows than allowed are bad. They and the report are left in
            `<out>.failed`.
    """
    started = time.time()
    if isinstance(dataset, str):
        dataset = find_dataset(dataset, source)
    if cross_min_count is not None:
        features = dataset.features.with_crossed_pairs(cross_min_count)
        dataset = dataclasses.replace(dataset, features=features)
    job = {"dataset": dataset.name, "source": source, "declaration": _declaration(dataset)}
    # With a slash at its end, object stores take a path for a folder, too.
    out, partial, failed = (f"{out.rstrip('/')}{suffix}/" for suffix in ("", ".partial", ".failed"))
    if _exists(out):
        return _finished_report(out, job)
    files = dataset.files(source)
    for leftover in (partial, failed):
        if _exists(leftover):
            _delete(leftover)
    for folder in ("examples", "rejected"):
        FileSystems.mkdirs(FileSystems.join(partial, folder))

    with beam.Pipeline(options=pipeline_options(beam_options)) as pipeline:
        _build(pipeline, dataset, source, files, partial)

    counts = _read_json(FileSystems.join(partial, "tmp", "counts.json"))
    features = dataset.features.with_vocabulary_sizes(
        read_sizes(FileSystems.join(partial, "transform_fn"))
    )
    report = job | _report(counts, features) | {"wall_seconds": round(time.time() - started, 1)}
    _delete(FileSystems.join(partial, "tmp/"))
    _write_json(FileSystems.join(partial, "features.json"), features.to_dict())
    _write_json(FileSystems.join(partial, "report.json"), report)
    _check_rows(report, max_rejected, partial, failed)
    FileSystems.rename([partial], [out])
    return report


def pipeline_options(given: Sequence[str]) -> PipelineOptions:
    """The options given, and those of a local run if they name no runner."""
    options = PipelineOptions(list(given))
    if options.view_as(StandardOptions).runner is not None:
        return options
    # Beam 2.77 flushes what goes from step to step every second, from a thread of its own, and
    # loses what is written meanwhile. With 0 only the writer flushes.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    return PipelineOptions([*_LOCAL_OPTIONS, *given])  # the last of two counts


def _declaration(dataset: Dataset) -> dict[str, Any]:
    """What decides the result beside the data."""
    return {"features": dataset.features.to_dict(), "split": repr(dataset.split)}


def _finished_report(out: str, job: dict[str, Any]) -> dict[str, Any]:
    path = FileSystems.join(out, "report.json")
    if not FileSystems.exists(path):
        raise FileExistsError(f"{out} exists and is no prepared data set")
    report = _read_json(path)
    for key, value in json.loads(json.dumps(job)).items():
        if report[key] != value:
            raise FileExistsError(f"{out} holds data prepared with another {key}; choose another")
    return report


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
    _ = parsed[rows.REJECTED] | "WriteRejected" >> beam.Map(rows.write_rejected, lines, rejected)
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
        train = analyzed | "TrainRows" >> beam.FlatMap(rows.only_split, SPLITS.index("train"))
        transform = (train, config) | "Analyze" >> tft_beam.AnalyzeDataset(
            make_preprocessing_fn(dataset.features)
        )
        transformed, _ = ((batches, config), transform) | "Transform" >> tft_beam.TransformDataset(
            output_record_batches=True
        )
        _ = transform | "WriteTransform" >> tft_beam.WriteTransformFn(folder)
    transformed = (
        transformed | "Batches" >> beam.Keys() | "Ordered" >> beam.Map(rows.in_column_order)
    )
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


def _write_samples(batches: beam.PCollection, dataset: Dataset, folder: str) -> None:
    """Some raw rows of the test split, as requests carry them."""
    _ = _sample(batches, "Rows") | "WriteSamples" >> beam.Map(
        _write_sample_rows,
        list(dataset.features.raw_columns),
        FileSystems.join(folder, "samples.jsonl"),
    )


def _sample(batches: beam.PCollection, name: str) -> beam.PCollection:
    """Some rows of the test split: the same ones in the same order, raw or transformed."""
    return (
        batches
        | f"Test{name}" >> beam.FlatMap(rows.only_split, SPLITS.index("test"))
        | f"Sample{name}" >> beam.CombineGlobally(rows.SmallestKeys(_SAMPLES))
    )


def _write_sample_rows(batch: pa.RecordBatch | None, columns: list[str], path: str) -> None:
    with FileSystems.create(path) as file:
        if batch is not None:
            values = [batch.column(name).flatten().to_pylist() for name in columns]
            for row in zip(*values, strict=True):
                cells = (None if cell != cell else cell for cell in row)  # NaN is no JSON
                file.write(json.dumps(dict(zip(columns, cells, strict=True))).encode() + b"\n")


def _written_count(split: str, count: int) -> tuple[str, int]:
    return f"written: {split}", count


def _write_counts(counts: dict[str, int], path: str) -> None:
    _write_json(path, counts)


def _report(counts: dict[str, int], features: FeatureSet) -> dict[str, Any]:
    def with_prefix(prefix: str) -> dict[str, int]:
        names = sorted(name for name in counts if name.startswith(prefix))
        return {name.removeprefix(prefix): counts[name] for name in names}

    written, clicks = with_prefix("written: "), with_prefix("clicks: ")
    filtered, rejected = with_prefix("filtered: "), with_prefix("rejected: ")
    return {
        "rows": {
            "read": counts.get("read", 0),
            **{split: written[split] for split in SPLITS},
            "filtered": sum(filtered.values()),
            "rejected": sum(rejected.values()),
        },
        "filtered_because": filtered,
        "rejected_because": rejected,
        "label_mean": {
            split: clicks.get(split, 0) / written[split] if written[split] else None
            for split in SPLITS
        },
        "vocabulary_sizes": features.vocabulary_sizes,
        "id_count": features.id_count,
        "versions": {"python": sys.version.split()[0]}
        | {package: metadata.version(package) for package in _PACKAGES},
    }


def _check_rows(report: dict[str, Any], max_rejected: float, partial: str, failed: str) -> None:
    """Sees that nothing is lost, that there is something to train on and not too much is bad."""
    counted = dict(report["rows"])
    read, rejected = counted.pop("read"), counted["rejected"]
    if sum(counted.values()) != read:
        raise RuntimeError(f"rows were lost, which is a bug: {report['rows']}; see {partial}")
    if rejected > max_rejected * read:
        _delete(FileSystems.join(partial, "examples/"))
        FileSystems.rename([partial], [failed])
        reasons = ", ".join(f"{n} x {why}" for why, n in report["rejected_because"].items())
        raise TooManyRejectedError(
            f"{rejected} of {read} rows were rejected ({rejected / read:.2%}), more than the "
            f"{max_rejected:.2%} allowed: {reasons}. They are in "
            f"{FileSystems.join(failed, 'rejected')}; mend them or raise --max-rejected"
        )
    if not counted["train"]:
        raise ValueError(f"no row falls into the training split: {report['rows']}")


def _exists(folder: str) -> bool:
    return any(match.metadata_list for match in FileSystems.match([folder, f"{folder}*"]))


def _delete(folder: str) -> None:
    is_local = FileSystems.get_scheme(folder) is None
    FileSystems.delete([folder.rstrip("/") if is_local else folder])


def _read_json(path: str) -> Any:
    with FileSystems.open(path) as file:
        return json.loads(file.read())


def _write_json(path: str, value: Any) -> None:
    with FileSystems.create(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
