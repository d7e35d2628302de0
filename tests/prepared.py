"""Prepared data for tests: made once a run, read in one batch."""

import gzip
import os
import pathlib
from collections.abc import Callable, Iterable

import filelock
import pytest
import tensorflow as tf

ROWS = 6000  # of the synthetic log
BROKEN = 0.005  # of them


def made_once(
    name: str, make: Callable[[pathlib.Path], object], factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A file or folder that is made once for all tests and processes of a run.

    Args:
        name: what it is called.
        make: a function that makes it at the path that it is given.
        factory: pytest's `tmp_path_factory`.

    Returns:
        Its path, for reading only.
    """
    base = factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path, made = run / name, run / f"{name}.made"
    with filelock.FileLock(f"{path}.lock"):
        if not made.exists():
            make(path)
            made.touch()
    return path


def prepare_once(
    dataset: str, source: pathlib.Path, factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The prepared folder of a data set, by its built-in name or its declaration."""
    from pipeline.prepare import prepare  # takes a second, and tests of JAX can do without

    return made_once(
        f"prepared-{pathlib.Path(dataset).stem}-{source.name}",
        lambda out: prepare(dataset, str(source), str(out)),
        factory,
    )


def synthetic_log_once(factory: pytest.TempPathFactory) -> pathlib.Path:
    """A synthetic log with broken rows of every kind."""
    from pipeline.datasets.synthetic import write_synthetic_log

    return made_once(
        "synthetic-log", lambda out: write_synthetic_log(str(out), ROWS, broken=BROKEN), factory
    )


def read_records(paths: Iterable[pathlib.Path]) -> list[bytes]:
    """The records of compressed TFRecord files, in their order."""
    files = [str(path) for path in paths]
    batches = tf.data.TFRecordDataset(files, "GZIP").batch(4096) if files else ()
    return [record for batch in batches for record in batch.numpy()]


def keep_some_rows(path: pathlib.Path, rows: int) -> None:
    """Leaves the first line of a file and about so many from all over it."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        first, *others = file
    with opened(path, "wt") as file:
        file.writelines([first, *others[:: max(len(others) // rows, 1)]])
