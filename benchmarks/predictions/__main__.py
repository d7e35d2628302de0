"""The command; see the package."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

import click
import keras

from benchmarks.peers.environments import default_folder, environment_python
from benchmarks.predictions.jobs import DEFAULT_MODELS, Job, Kept, jobs_of, one_line
from benchmarks.predictions.report import report
from benchmarks.predictions.training import Trainer


@click.command(help="Train models on logs with default settings or tuned, and compare.")
@click.option("--data", type=click.Path(path_type=pathlib.Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path))
@click.option("--logs", default="", help="Some of them, separated by commas.")
@click.option("--models", default=",".join(DEFAULT_MODELS), show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--trials", default=0, show_default=True, help="0: default settings.")
@click.option("--report", "only_report", is_flag=True, help="Print the tables, train nothing.")
@click.option("--threads", default=2, show_default=True, help="CPUs that all share (Linux).")
@click.option("--environments", default=default_folder, help="Folder of the peers' environments.")
def main(
    data: pathlib.Path | None,
    out: pathlib.Path,
    logs: str,
    models: str,
    seeds: int,
    trials: int,
    only_report: bool,
    threads: int,
    environments: str,
) -> None:
    """Train what is not trained yet, and print the tables."""
    kept = Kept(out)
    if not only_report:
        if data is None:
            raise click.UsageError("give --data, or --report to train nothing")
        names = _list(logs) or sorted(path.parent.name for path in data.glob("*/features.json"))
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        jobs = jobs_of(names, _list(models), seeds, trials)
        run(jobs, kept, Trainer(data, out, lambda: environment_python(environments, "fuxictr")))
    for line in report(kept):
        print(line)


def _list(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def run(jobs: Sequence[Job], kept: Kept, trainer: Trainer) -> None:
    """Does the jobs that are not done yet; one that fails does not stop the others."""
    done = {job for job, line in kept.results().items() if "error" not in line}
    for number, job in enumerate(jobs, start=1):
        if job in done:
            continue
        print(f"[{number}/{len(jobs)}] {' '.join(map(str, job))}", file=sys.stderr)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # progress
                kept.add(job, trainer.train(job))
        except Exception as error:  # whatever it is, it is this job's
            kept.add_failed(job, error)
            print(f"failed: {one_line(error)}", file=sys.stderr)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
