"""The command; see the package."""

import contextlib
import itertools
import json
import os
import sys

import click

from benchmarks.searches.report import stability, table
from benchmarks.searches.tables import ABLATIONS, CROSSED, DEFAULTS, SETTINGS, TABLES, Settings
from benchmarks.searches.training import Bench, Measured


@click.command()
@click.option("--data", required=True, help="Folder with the prepared data.")
@click.option("--out", required=True, help="Folder for searches and runs.")
@click.option("--name", required=True, type=click.Choice(list(SETTINGS)), help="Data set.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--ablations/--no-ablations", default=True, help="Other searches and retrainings.")
@click.option("--table", "which", default="papers", type=click.Choice([*TABLES, "stability"]))
def main(data: str, out: str, name: str, seeds: int, ablations: bool, which: str) -> None:
    """Search and train all, and print a table of their test metrics."""
    prepared = os.path.join(data, *(["crossed"] if which in CROSSED else []), name)
    is_default = which in DEFAULTS
    folder = os.path.join(out, name, *([which] if is_default else []))
    settings = Settings() if is_default else SETTINGS[name]
    benches = [Bench(prepared, folder, settings, seed) for seed in range(seeds)]
    if which == "stability":
        with contextlib.redirect_stdout(sys.stderr):  # progress; stdout is for results
            lines = list(stability(benches))
    else:
        runs = {n: r for n, r in TABLES[which].items() if ablations or n not in ABLATIONS}
        results: dict[str, list[Measured]] = {run: [] for run in runs}
        for run, (seed, bench) in itertools.product(runs, enumerate(benches)):
            against = runs[run].against
            with contextlib.redirect_stdout(sys.stderr):
                plain = results[against][seed] if against else None
                results[run].append(bench.trained(run, runs[run], plain))
            _print_line({"data": name, "run": run, "seed": seed}, results[run][-1])
        lines = list(table(runs, results, prepared, benches[0]))
    print("\n".join(lines))


def _print_line(of: dict[str, str | int], measured: Measured) -> None:
    line = measured._asdict()
    del line["labels"], line["scores"]
    print(json.dumps({**of, **line}), flush=True)


if __name__ == "__main__":
    main()
