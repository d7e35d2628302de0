"""What test rows and seeds say about differences: the bootstrap and the paired t-test."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ctr_keras.metrics.bootstrap import resampled_weights
from ctr_keras.metrics.named import statistic_of
from ctr_keras.metrics.scored import scored
from ctr_keras.types import Array


def resampled(
    labels: Array,
    scores: Mapping[str, Sequence[Array]],
    metrics: Sequence[str],
    replicates: int,
    seed: int,
    weights: Array | None = None,
) -> tuple[dict[str, dict[str, Array]], dict[str, dict[str, Array]]]:
    """Metrics of several models with several seeds each, on the rows and on resampled rows.

    All models are measured on the same resampled rows, so that what these have in common cancels
    out of differences. A model's metric in a replicate is the mean over its seeds, and so its
    interval is of the rows, not of the seeds.

    Args:
        labels: `(rows,)` of 0 and 1.
        scores: by model `(rows,)` scores of each seed.
        metrics: names of `ctr_keras.metrics`.
        replicates: how often to resample.
        seed: of the resampling.
        weights: `(rows,)`, or None: all rows count alike.

    Returns:
        By model and metric, the values `(seeds,)` on the rows, and those `(replicates,)` on
        resampled rows.
    """
    rows = {
        name: [scored(labels, one, weights) for one in of_model]
        for name, of_model in scores.items()
    }
    statistics = {
        name: {metric: [statistic_of(metric, one) for one in of_model] for metric in metrics}
        for name, of_model in rows.items()
    }
    plain = next(iter(rows.values()))[0]

    def measure(weights: Array) -> dict[str, dict[str, list[float]]]:
        return {
            name: {metric: [of(weights) for of in seeds] for metric, seeds in of_model.items()}
            for name, of_model in statistics.items()
        }

    values = measure(plain.weights)
    drawn = [measure(weights) for weights in resampled_weights(plain, replicates, seed)]
    return (
        {n: {m: np.array(v) for m, v in of_model.items()} for n, of_model in values.items()},
        {
            name: {m: np.array([np.mean(one[name][m]) for one in drawn]) for m in metrics}
            for name in scores
        },
    )


def paired_t_test(first: Mapping[int, float], second: Mapping[int, float]) -> float | None:
    """The two-sided p-value of the differences between two models with the same seeds.

    Args:
        first, second: values by seed.

    Returns:
        None with less than two common seeds, and if all differences are the same.

    Example:

    >>> round(paired_t_test({0: 0.71, 1: 0.72, 2: 0.74}, {0: 0.70, 1: 0.70, 2: 0.71}), 3)
    0.074
    """
    seeds = sorted(first.keys() & second.keys())
    ours, others = (np.array([values[seed] for seed in seeds]) for values in (first, second))
    if len(seeds) < 2 or np.ptp(ours - others) == 0:
        return None
    return float(stats.ttest_rel(ours, others).pvalue)
