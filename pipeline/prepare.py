"""Prepared data from raw logs: the job is run, reported and published."""

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

from ctr_keras.features.statistics import NUMBERS_FILE
from ctr_keras.files import copy_file, delete, exists, read_json, write_json
from pipeline.checks import check_source
from pipeline.datasets import find_dataset
from pipeline.datasets.base import Dataset
from pipeline.description import describe, difference
from pipeline.earlier import DECLARATION, at_hand, dataset_like, declaration_file, warnings_of
from pipeline.report import TooManyRejectedError, check_rows, summarize, warnings_of_validation
from pipeline.splits import SPLITS, OneSplit, SplitName
from pipeline.statistics import FILE as STATISTICS_FILE
from pipeline.statistics.expectations import UnexpectedDataError, check_expectations
from pipeline.storage import REPORT, Output

__all__ = ["TooManyRejectedError", "UnexpectedDataError", "prepare"]


def prepare(
    dataset: str | Dataset | None,
    source: str,
    out: str,
    *,
    like: str | None = None,
    grow: bool = False,
    split: SplitName | None = None,
    cross_min_count: int | None = None,
    max_rejected: float = 0.01,
    beam_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Analyzes the training split of a data set and transforms all of it to TFRecords.

    With `like`, nothing is analyzed: new rows are transformed as those of an earlier folder were,
    equal rows to equal records. What `history` declares is made of the new rows alone.

    The folder appears under its name only when it is whole. A run that was killed or has failed
    leaves `<out>.partial` or `<out>.failed` behind, which the next run clears away. Running again
    what has finished returns its report.

    Args:
        dataset: str or Dataset. The name of a built-in data set (`pipeline.datasets.DATASETS`), the
            path of a YAML file, or a declaration. None with `like`, whose folder knows it, unless
            it was prepared from a declaration.
        source: str. File, folder or pattern of the raw logs, on any file system of
            `ctr_keras.files`.
        out: str. Folder to write: `features.json`, `numbers.json`, `transform_fn/`,
            `transformed_metadata/`, `examples/`, `rejected/`, `samples.jsonl` and the same rows
            transformed, `samples.tfrecord.gz`, statistics of the raw rows, `report.json`, and
            `dataset.yaml`, the YAML file.
        like: str or None. An earlier prepared folder, also at an address. Defaults to `None`: there
            is none.
        grow: bool. With `like`, whether values that are in no vocabulary yet and reach `min_count`
            in the new training rows are appended to it (see `ctr_keras.features.growth`). Defaults
            to `False`: they are out of vocabulary.
        split: str or None. With `like`, the split of all new rows: `"test"` to score a new day, or
            `"train"` to learn from all of it. Defaults to `None`: as declared.
        cross_min_count: int or None. Cross every pair of categorical columns, with pairs seen in
            fewer training rows out of vocabulary (OptInter's memorized pairs). Defaults to `None`:
            only the crossed features that are declared.
        max_rejected: float. Share of the rows that may be rejected. Defaults to `0.01`.
        beam_options: list of str. Options of Apache Beam, such as `--runner=DataflowRunner`.
            Defaults to `()`: run in this process.

    Returns:
        The contents of `report.json`; of a job that is only translated, as Beam's
        `--template_location` and `--dry_run` ask for, just `dataset` and `source`.

    Raises:
        ValueError: for a wrong declaration, files that are not as declared, or an empty training
            split.
        FileNotFoundError: if the source is not there.
        OSError: if `out` cannot be written.
        FileExistsError: if `out` holds something else, saying in what it differs.
        JobError: if the job fails. The message is the cause, in one line, and where the traceback
            is.
        TooManyRejectedError: if more rows than allowed are bad. They and the report are left in
            `<out>.failed`.
        UnexpectedDataError: if a limit of `expect` is broken, naming it. The report and the
            statistics are left in `<out>.failed`.

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
    _check_together(dataset, like, grow, split, cross_min_count)
    if like and os.path.realpath(like) == os.path.realpath(out):
        raise ValueError(f"--like and --out are both {out}: choose another folder to write")
    with at_hand(like) as earlier:
        declared = declaration_file(dataset, earlier)
        dataset = _declared(dataset, earlier, split)
        if cross_min_count is not None:
            features = dataset.features.with_crossed_pairs(cross_min_count)
            dataset = dataclasses.replace(dataset, features=features)
        files = dataset.files(source)
        declaration = describe(dataset, source, files)
        declaration |= {"like": like, "grow": grow} if like else {}
        output = Output(out)
        if exists(output.path):
            return _finished_report(output, dataset, declaration)
        check_source(dataset, source, files)
        if beam_options:
            from pipeline.runners import check_options

            check_options(beam_options, out)
        output.begin()

        # TensorFlow Transform sets it, too late to spare the second and a half of Keras' import.
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
        from pipeline.job import run_job  # slow to import: after all that is quick to check

        report: dict[str, Any] = {"dataset": dataset.name, "source": source}
        found = run_job(dataset, source, files, output, beam_options, earlier, grow)
        if found is None:  # the job was translated, not run
            delete(output.partial)
            return report
        if declared:
            copy_file(declared, os.path.join(output.partial, DECLARATION))
    counts, features, numbers = found
    report |= summarize(counts, features) | {"declaration": declaration}
    report["wall_seconds"] = round(time.time() - started, 1)
    report["warnings"] += warnings_of(dataset) if like else warnings_of_validation(report["rows"])
    write_json(features.to_dict(), os.path.join(output.partial, "features.json"))
    write_json(numbers, os.path.join(output.partial, NUMBERS_FILE))
    try:
        check_rows(report, max_rejected, output, SPLITS if like else ("train",))
        report["warnings"] += _unexpected(output.partial, dataset)
        write_json(report, os.path.join(output.partial, REPORT))
    except (TooManyRejectedError, UnexpectedDataError):
        write_json(report, os.path.join(output.partial, REPORT))
        delete(os.path.join(output.partial, "examples"))
        output.fail()
        raise
    output.publish()
    return report


def _check_together(
    dataset: str | Dataset | None,
    like: str | None,
    grow: bool,
    split: SplitName | None,
    cross_min_count: int | None,
) -> None:
    """Checks that arguments that go or do not go together are given so."""
    if like is None and (grow or split):
        option = "--grow" if grow else f"--split {split}"
        raise ValueError(f"{option} needs --like: an earlier prepared folder")
    if dataset is None and like is None:
        raise ValueError("say what the rows are: --dataset, or --like an earlier prepared folder")
    if like and isinstance(dataset, str):
        raise ValueError(f"--dataset {dataset} and --like {like}: give one, {like} knows its own")
    if like and cross_min_count:
        raise ValueError(f"--cross-min-count: features are those of {like}, crossed ones included")
    if grow and split not in (None, "train"):
        raise ValueError(f"--grow counts training rows, and --split {split} leaves none")


def _declared(dataset: str | Dataset | None, like: str | None, split: SplitName | None) -> Dataset:
    if isinstance(dataset, str):
        return find_dataset(dataset)
    if like is None:
        assert dataset is not None
        return dataset
    return dataset_like(like, OneSplit(split) if split else None, dataset)


def _unexpected(folder: str, dataset: Dataset) -> list[str]:
    """Warnings about what is not as expected in a folder, or an error if that is to fail."""
    if not dataset.expect:
        return []
    return check_expectations(read_json(os.path.join(folder, STATISTICS_FILE)), dataset.expect)


def _finished_report(
    output: Output, dataset: Dataset, declaration: dict[str, Any]
) -> dict[str, Any]:
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
    warnings = [*report["warnings"], *_unexpected(output.path, dataset)]
    return report | {"warnings": [*dict.fromkeys(warnings)]}
