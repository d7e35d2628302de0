"""Prepared data from raw logs: the job is run, reported and published."""

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

from ctr_keras.features.statistics import NUMBERS_FILE
from ctr_keras.files import delete, exists, read_json, write_json
from pipeline.datasets import find_dataset
from pipeline.datasets.base import Dataset
from pipeline.description import describe, difference
from pipeline.report import TooManyRejectedError, check_rows, summarize
from pipeline.storage import REPORT, Output

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

    The folder appears under its name only when it is whole. A run that was killed or has failed
    leaves `<out>.partial` or `<out>.failed` behind, which the next run clears away. Running again
    what has finished returns its report.

    Args:
        dataset: str or Dataset. The name of a built-in data set (`pipeline.datasets.DATASETS`), the
            path of a YAML file, or a declaration.
        source: str. File, folder or pattern of the raw logs, on any file system of
            `ctr_keras.files`.
        out: str. Folder to write: `features.json`, `numbers.json`, `transform_fn/`,
            `transformed_metadata/`, `examples/`, `rejected/`, `samples.jsonl` and the same rows
            transformed, `samples.tfrecord.gz`, and `report.json`.
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
        OSError: if `out` cannot be written.
        FileExistsError: if `out` holds something else, saying in what it differs.
        JobError: if the job fails. The message is the cause, in one line, and where the traceback
            is.
        TooManyRejectedError: if more rows than allowed are bad. They and the report are left in
            `<out>.failed`.

    Example:

    >>> import tempfile
    >>> from pipeline.datasets.synthetic import write_synthetic_log
    >>> folder = tempfile.mkdtemp()
    >>> write_synthetic_log(f"{folder}/log", rows=1000)
    >>> report = prepare("synthetic", f"{folder}/log", f"{folder}/prepared")
    >>> report["rows"]["read"]
    1000
    """
    started = time.time()
    if isinstance(dataset, str):
        dataset = find_dataset(dataset, source)
    if cross_min_count is not None:
        features = dataset.features.with_crossed_pairs(cross_min_count)
        dataset = dataclasses.replace(dataset, features=features)
    files = dataset.files(source)
    declaration = describe(dataset, source, files)
    output = Output(out)
    if exists(output.path):
        return _finished_report(output, declaration)
    if beam_options:
        from pipeline.runners import check_options

        check_options(beam_options, out)
    output.begin()

    from pipeline.job import run_job  # all that is slow to import, after all that is quick to check

    counts, features, numbers = run_job(dataset, source, files, output, beam_options)
    seconds = round(time.time() - started, 1)
    report = {"dataset": dataset.name, "source": source, **summarize(counts, features)}
    report |= {"declaration": declaration, "wall_seconds": seconds}
    write_json(features.to_dict(), os.path.join(output.partial, "features.json"))
    write_json(numbers, os.path.join(output.partial, NUMBERS_FILE))
    write_json(report, os.path.join(output.partial, REPORT))
    try:
        check_rows(report, max_rejected, output)
    except TooManyRejectedError:
        delete(os.path.join(output.partial, "examples"))
        output.fail()
        raise
    output.publish()
    return report


def _finished_report(output: Output, declaration: dict[str, Any]) -> dict[str, Any]:
    """The report of the run that wrote the output, if it is one of the same declaration."""
    path = os.path.join(output.path, REPORT)
    if not exists(path):
        raise FileExistsError(f"{output.path} exists and is not a prepared data set")
    report: dict[str, Any] = read_json(path)
    if changed := difference(report["declaration"], declaration):
        raise FileExistsError(
            f"{output.path} holds data that were prepared otherwise: {changed}; choose another "
            "folder, or delete it first"
        )
    return report
