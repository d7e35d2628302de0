"""Prepared data for tests: made once a run, read in one batch."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable

import filelock
import pytest
import tensorflow as tf


def prepare_in_process(dataset: str, source: object, out: str | pathlib.Path) -> pathlib.Path:
    """Prepares a data set in a process of its own; the prepared folder.

    Importing TensorFlow Transform changes what `tf.keras` is.
    """
    _run("prepare", "--dataset", dataset, "--source", source, "--out", out)
    return pathlib.Path(out)


def prepare_synthetic(rows: int, folder: pathlib.Path) -> pathlib.Path:
    """Writes a synthetic log below a folder and prepares it; the prepared folder."""
    _run("synthesize", "--rows", rows, "--out", folder / "log")
    return prepare_in_process("synthetic", folder / "log", folder / "prepared")


def prepare_once(
    dataset: str,
    source: pathlib.Path,
    factory: pytest.TempPathFactory,
    prepare: Callable[[str, str, str], object] = prepare_in_process,
) -> pathlib.Path:
    """Prepares a data set, once for all tests and processes of a run.

    Args:
        dataset: a built-in name.
        source: the raw logs.
        factory: pytest's `tmp_path_factory`.
        prepare: what prepares them where no other test has.

    Returns:
        The prepared folder, for reading only.
    """
    base = factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out = run / f"prepared-{dataset}-{source.name}"
    with filelock.FileLock(f"{out}.lock"):
        if not out.exists():  # it appears when it is whole
            prepare(dataset, str(source), str(out))
    return out


def read_records(paths: Iterable[pathlib.Path]) -> list[bytes]:
    """The records of compressed TFRecord files, in their order."""
    files = [str(path) for path in paths]
    batches = tf.data.TFRecordDataset(files, "GZIP").batch(4096) if files else ()
    return [record for batch in batches for record in batch.numpy()]


def _run(*arguments: object) -> None:
    command = [sys.executable, "-m", "ctr_keras.cli", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
