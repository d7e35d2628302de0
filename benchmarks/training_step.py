"""Training steps of FM, DeepFM and AutoInt compared with those of FuxiCTR and DeepCTR.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --peer fuxictr --models FM --ids 10000 --law zipf

39 categorical fields of equal vocabularies, embeddings of width 16, Adam, batches of 2,048 rows in
memory, on the CPU. Each library trains in a process of its own, a peer in an environment of its own
that is made at first (some GB below `--environments`). For each model and number of ids the
processes take turns, and a figure is the median of the rounds. A step is what a library's own `fit`
does for a batch, without reading, metrics and evaluation.

Every measurement is one JSON line: milliseconds of a step and of CPU time in it, parameters of the
model, and memory at its peak, initialization included: that of the process in MB, and that of
training (without what was there before the model) in sizes of the embeddings. The last lines are
the goals, and what was reached of them.
"""

import collections
import contextlib
import json
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from benchmarks.peers.environments import default_folder, environment_python
from benchmarks.peers.work import LAWS, OPTIMIZERS, Work
from benchmarks.peers.worker import Worker

OURS = "ctr-keras"
PEERS = ("fuxictr", "deepctr")
MODELS = ("FM", "DeepFM", "AutoInt")
IDS = (10_000, 1_000_000, 10_000_000)
POLICIES = ("float32", "mixed_bfloat16")

# How many times as long a step may take with the most ids as with the fewest.
GROWTH = {"zipf": 1.3, "uniform": 2.5}
# How many times as fast as the faster peer, by policy, model and ids, with Zipf ids.
SPEED_UPS = {
    ("float32", "FM", 1_000_000): 4,
    ("float32", "FM", 10_000_000): 30,
    ("float32", "DeepFM", 1_000_000): 1.5,
    ("float32", "DeepFM", 10_000_000): 12,
    ("float32", "AutoInt", 1_000_000): 1.5,
    ("float32", "AutoInt", 10_000_000): 3,
    ("mixed_bfloat16", "AutoInt", 1_000_000): 2.5,
}
# How many times the size of its embeddings training may take, with the most ids.
MEMORY = 3.3


class Key(NamedTuple):
    """What a measurement is of."""

    library: str
    policy: str
    model: str
    ids: int
    law: str


@click.command(help="Compare training steps with those of FuxiCTR and DeepCTR.")
@click.option("--peer", "peers", type=click.Choice(PEERS), multiple=True, default=PEERS)
@click.option("--models", type=click.Choice(MODELS), multiple=True, default=MODELS)
@click.option(
    "--ids", type=click.IntRange(min=78), multiple=True, default=IDS, help="Of all 39 fields."
)
@click.option("--law", "laws", type=click.Choice(LAWS), multiple=True, default=LAWS)
@click.option("--policy", "policies", type=click.Choice(POLICIES), multiple=True, default=POLICIES)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default=OPTIMIZERS[0],
    show_default=True,
    help="How our embeddings are updated.",
)
@click.option(
    "--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow", show_default=True
)
@click.option("--rounds", default=7, show_default=True, help="Turns of each process.")
@click.option("--steps", default=10, show_default=True, help="Steps in a turn.")
@click.option("--threads", default=2, show_default=True, help="CPUs that all share (Linux).")
@click.option("--environments", default=default_folder, help="Folder of the peers' environments.")
def main(
    peers: tuple[str, ...],
    models: tuple[str, ...],
    ids: tuple[int, ...],
    laws: tuple[str, ...],
    policies: tuple[str, ...],
    optimizer: str,
    backend: str,
    rounds: int,
    steps: int,
    threads: int,
    environments: str,
) -> None:
    """Measure all of it. Options with several values are given several times."""
    pythons = {peer: environment_python(environments, peer) for peer in peers}
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # processes inherit it
    lines: dict[Key, dict[str, Any]] = {}
    for model in models:
        for count in ids:
            work = Work(model, count, optimizer=optimizer)
            with _workers(work, policies, backend, pythons) as workers:
                for key, line in _measure(work, workers, laws, rounds, steps):
                    lines[key] = line
                    print(json.dumps({**key._asdict(), **line}), flush=True)
    for goal in goals(lines):
        print(json.dumps(goal))


@contextlib.contextmanager
def _workers(
    work: Work, policies: Iterable[str], backend: str, pythons: Mapping[str, str]
) -> Iterator[dict[tuple[str, str], Worker]]:
    """A running worker for each library and policy; the peers have float32 only."""
    with contextlib.ExitStack() as stack:

        def start(library: str, python: str, policy: str) -> Worker:
            module = f"benchmarks.peers.train_{library.replace('-', '_')}"
            worker = Worker(module, python, work.with_policy(policy), backend)
            stack.callback(worker.stop)
            return worker

        ours = {(OURS, policy): start(OURS, sys.executable, policy) for policy in policies}
        theirs = {(peer, "float32"): start(peer, pythons[peer], "float32") for peer in pythons}
        yield ours | theirs


def _measure(
    work: Work,
    workers: Mapping[tuple[str, str], Worker],
    laws: Iterable[str],
    rounds: int,
    steps: int,
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """What a step takes in each worker, by law; the workers take turns."""
    for law in laws:
        turns = collections.defaultdict(list)
        for _ in range(rounds):
            for name, worker in workers.items():
                turns[name].append(worker.run(law, steps))
        for (library, policy), done in turns.items():
            seconds = [turn["seconds"] / steps for turn in done]
            cpu_seconds = [turn["cpu_seconds"] / steps for turn in done]
            line = {
                "milliseconds": round(1000 * statistics.median(seconds), 2),
                "fastest": round(1000 * min(seconds), 2),
                "cpu_milliseconds": round(1000 * statistics.median(cpu_seconds), 2),
                "parameters": workers[library, policy].parameters,
                "peak_mb": round(done[-1]["peak_bytes"] / 1e6),
                "training_over_table": round(done[-1]["training_bytes"] / work.table_bytes, 2),
            }
            yield Key(library, policy, work.model, work.ids, law), line


def goals(lines: Mapping[Key, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The goals that can be judged by these measurements.

    Args:
        lines: dict of measurements by what they are of.

    Yields:
        What is compared, the ratio reached, the goal (`at_most` or `at_least`), and whether it is
        met.

    Example:

    >>> fast = Key("ctr-keras", "float32", "FM", 1_000_000, "zipf")
    >>> slow = fast._replace(library="fuxictr")
    >>> for goal in goals({fast: {"milliseconds": 10}, slow: {"milliseconds": 50}}):
    ...     print(goal["ratio"], goal["at_least"], goal["met"])
    5.0 4 True
    """
    most, fewest = max(IDS), min(IDS)
    for key, line in lines.items():
        if OURS not in key:
            continue
        name = " ".join(map(str, key))
        milliseconds = line["milliseconds"]
        if key.ids == most and (small := lines.get(key._replace(ids=fewest))):
            ratio = milliseconds / small["milliseconds"]
            yield _at_most(f"{name}: time of {fewest} ids", ratio, GROWTH[key.law])
        if key.ids == most:
            ratio = line["training_over_table"]
            yield _at_most(f"{name}: memory over embeddings", ratio, MEMORY)
        wanted = SPEED_UPS.get((key.policy, key.model, key.ids))
        rivals = [lines.get(key._replace(library=peer, policy="float32")) for peer in PEERS]
        times = [rival["milliseconds"] for rival in rivals if rival]
        if wanted and times and key.law == "zipf":
            yield _at_least(f"{name}: faster than peers", min(times) / milliseconds, wanted)


def _at_most(what: str, ratio: float, goal: float) -> dict[str, Any]:
    return {"goal": what, "ratio": round(ratio, 2), "at_most": goal, "met": ratio <= goal}


def _at_least(what: str, ratio: float, goal: float) -> dict[str, Any]:
    return {"goal": what, "ratio": round(ratio, 2), "at_least": goal, "met": ratio >= goal}


if __name__ == "__main__":
    main()
