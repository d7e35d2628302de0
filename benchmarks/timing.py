"""Comparing tasks on a noisy machine: they take turns, and the median of their times counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def median_seconds(
    tasks: Mapping[str, Callable[[], Any]],
    repetitions: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each task over the repetitions, in each of which all have their turn.

    Args:
        tasks: dict of functions by name.
        repetitions: int.
        warm_up: int. Repetitions before these, that do not count. Defaults to `1`.
        clock: `time.process_time` counts the processors' seconds, whatever else they do. Defaults
            to the clock on the wall.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(warm_up + repetitions):
        for name, task in tasks.items():
            started = clock()
            task()
            seconds[name].append(clock() - started)
    return {name: statistics.median(values[warm_up:]) for name, values in seconds.items()}
