"""The job: raw logs in, TFRecords and the transform graph out."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipeline.datasets import Dataset, find_dataset
from pipeline.job import _build, pipeline_options
from pipeline.report import TooManyRejectedError, _check_rows, _report
from pipeline.storage import _delete, _exists, _read_json, _write_json
from pipeline.vocabulary import read_sizes

__all__ = ["TooManyRejectedError", "prepare"]


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
