"""What searching and retraining a second-order AutoDeepFM costs, in trainings of DeepFM.

    python -m benchmarks.search_cost

One pass over random rows of 39 fields for each: DeepFM, the search, DeepFM on 30% of the pairs (the
paper keeps 24% and 28%; of random rows a search keeps none). They take turns; each figure is the
median of the repetitions, in seconds of processors: a busy machine does not matter, but do not run
it on a GPU. Building and compiling a model counts, and so does closing gates by validation rows.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import click
import keras
import numpy as np

from benchmarks.timing import median_seconds
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import DeepFM
from ctr_keras.plan import InteractionPlan
from ctr_keras.runs import jit_setting
from ctr_keras.search import AutoFISSearch
from ctr_keras.search.rows import SearchRows

FIELDS = 39


@click.command()
@click.option("--rows", default=200_000, show_default=True)
@click.option("--batch-size", default=2000, show_default=True)
@click.option("--dim", default=20, show_default=True, help="Width of an embedding.")
@click.option("--vocabulary", default=1000, show_default=True, help="Values of a field.")
@click.option("--repetitions", default=3, show_default=True)
def main(rows: int, batch_size: int, dim: int, vocabulary: int, repetitions: int) -> None:
    """Measure, and print a JSON line."""
    names = [f"field_{index}" for index in range(FIELDS)]
    features = FeatureSet(
        *map(Categorical, names),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, vocabulary),
    )
    draw = np.random.default_rng(0)
    starts = [features.id_ranges[name].start for name in names]
    ids = (draw.integers(0, vocabulary, (rows, FIELDS)) + starts).astype("int32")
    data = {"categorical": ids}, draw.integers(0, 2, (rows, 1)).astype("float32")
    search = AutoFISSearch(batch_size=batch_size, epochs=1, model_args={"dim": dim}, verbose=False)
    every = InteractionPlan.complete(names).interactions
    plan = InteractionPlan(interaction for interaction in every if draw.random() < 0.3)

    def train(plan: InteractionPlan | None) -> None:
        model = DeepFM(features, dim, interactions=plan)
        model.compile("adam", "binary_crossentropy", jit_compile=jit_setting("auto"))
        stream = SearchRows(features, data).stream(model, batch_size, seed=0)
        model.fit(stream, steps_per_epoch=-(-rows // batch_size), verbose=0)

    tasks: dict[str, Callable[[], Any]] = {
        "DeepFM": lambda: train(None),
        "search": lambda: search.search(features, data),
        "retrain": lambda: train(plan),
    }
    median = median_seconds(tasks, repetitions, warm_up=0, clock=time.process_time)
    line = {
        **{f"{name} seconds": round(value, 2) for name, value in median.items()},
        "search and retrain of DeepFM": round(
            (median["search"] + median["retrain"]) / median["DeepFM"], 2
        ),
        "pairs kept": len(plan.interactions),
        "pairs": FIELDS * (FIELDS - 1) // 2,
        "rows": rows,
        "backend": keras.backend.backend(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
