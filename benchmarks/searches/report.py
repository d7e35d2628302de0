"""The tables, in Markdown."""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.searches.tables import STABILITY, Run
from benchmarks.searches.training import Bench, Measured
from benchmarks.timing import median_seconds
from ctr_keras.compare.statistics import paired_t_test, resampled
from ctr_keras.data import read_rows
from ctr_keras.metrics import rank_correlation
from ctr_keras.metrics.bootstrap import interval
from ctr_keras.search.verdict import read_courses
from ctr_keras.training import load_run

_REPLICATES = 200  # of the bootstrap
_HEAD = ("model", "AUC", "log loss", "kept %", "parameters", "ms for 2,000 rows")
_COMPARED = ("against", "AUC, 95% for other rows", "p, other seeds", "log loss", "p")

Results = Mapping[str, Sequence[Measured]]  # by the name of a run, of each seed


def table(runs: Mapping[str, Run], results: Results, prepared: str, first: Bench) -> Iterator[str]:
    """The lines of a table.

    Args:
        runs: by their names.
        results: of these runs.
        prepared: the prepared data.
        first: Bench of the first seed, whose models are timed.
    """
    milliseconds = _inference({name: first.run_folder(name) for name in runs}, prepared)
    is_compared = any(run.against for run in runs.values())
    head = (*_HEAD, *_COMPARED) if is_compared else _HEAD
    yield _row(head)
    yield _row(["---"] * len(head))
    differences = _differences(runs, results) if is_compared else {}
    for name, of_seeds in results.items():
        yield _row(
            [
                name,
                _mean([one.auc for one in of_seeds]),
                _mean([one.log_loss for one in of_seeds]),
                _kept(of_seeds),
                f"{round(statistics.mean(one.parameters for one in of_seeds)):,}",
                f"{milliseconds[name]:.1f}",
                *(differences.get(name, [""] * len(_COMPARED)) if is_compared else []),
            ]
        )


def _differences(runs: Mapping[str, Run], results: Results) -> dict[str, list[str]]:
    """Of each run that is compared, how it differs from its plain one."""
    labels = next(iter(results.values()))[0].labels
    scores = {name: [one.scores for one in of_seeds] for name, of_seeds in results.items()}
    _, drawn = resampled(labels, scores, ["auc"], _REPLICATES, seed=0)
    found = {}
    for name, run in runs.items():
        if not run.against:
            continue
        low, high = interval(drawn[name]["auc"] - drawn[run.against]["auc"])
        own, other = results[name], results[run.against]
        auc, auc_p = _paired(own, other, lambda one: one.auc)
        loss, loss_p = _paired(own, other, lambda one: one.log_loss)
        of_rows = f"{auc} ({low:+.4f} to {high:+.4f})"
        found[name] = [run.against, of_rows, auc_p, loss, loss_p]
    return found


def _paired(
    own: Sequence[Measured], other: Sequence[Measured], of: Callable[[Measured], float]
) -> tuple[str, str]:
    """The mean difference and its p-value over seeds."""
    values = [dict(enumerate(map(of, measured))) for measured in (own, other)]
    difference = statistics.mean(values[0].values()) - statistics.mean(values[1].values())
    return f"{difference:+.4f}", _p_value(paired_t_test(*values))


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def stability(benches: Sequence[Bench]) -> Iterator[str]:
    """Means over all pairs of seeds, of gates by name: those that have closed are 0."""
    head = ("search", "Pearson", "rank correlation", "kept by both, of those kept by either")
    yield _row(head)
    yield _row(["---"] * len(head))
    for search in STABILITY:
        plans = [bench.searched(search) for bench in benches]
        kept = [{interaction.fields for interaction in plan.interactions} for plan in plans]
        courses = [read_courses(bench.search_folder(search))[1] for bench in benches]
        gates = [np.abs(course.end) for course in courses]
        pairs = list(itertools.combinations(gates, 2))
        means = (
            np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs]),
            np.mean([rank_correlation(one, other) for one, other in pairs]),
            np.mean([_overlap(one, other) for one, other in itertools.combinations(kept, 2)]),
        )
        yield _row([search, *(f"{mean:.2f}" for mean in means)])


def _overlap(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _kept(of_seeds: Sequence[Measured]) -> str:
    """Means over the seeds of the shares of each order; a seed may have found none of order 3."""
    orders = itertools.zip_longest(*(one.kept for one in of_seeds), fillvalue=0.0)
    return " / ".join(f"{100 * statistics.mean(shares):.1f}" for shares in orders) or "100"


def _inference(
    folders: Mapping[str, str], prepared: str, rows: int = 2000, repetitions: int = 21
) -> dict[str, float]:
    """Median milliseconds for a batch of test rows, the models taking turns."""
    tasks = {}
    for run, folder in folders.items():
        model, features, _ = load_run(folder)
        names = [tensor.name for tensor in model.inputs]
        inputs, _ = read_rows(prepared, "test", features, rows, names)
        batch = {
            name: np.resize(values, (rows, values.shape[1])) for name, values in inputs.items()
        }
        tasks[run] = functools.partial(model.predict_on_batch, batch)
    return {run: 1000 * value for run, value in median_seconds(tasks, repetitions).items()}


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.pstdev(values):.4f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
