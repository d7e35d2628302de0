"""Inference time of pruned factorization machines against full ones, on 39 fields.

    python -m benchmarks.pruned

Second order: 30% of the 741 pairs against all of them, computed pair by pair as the paper's code
does (two gathers, a product, a sum), and as this library does it (one matrix product of all fields
with all). Third order: 30% of the pairs and 2% of the 9,139 triples against all of both. The linear
time of a full FM without gates stands next to them: what it is compared with are models whose pairs
have gates. All models take turns; a figure is the median of the repetitions, a ratio that of the
medians.
"""

import functools
import itertools
import json
from collections.abc import Sequence
from typing import Any

import click
import keras
import numpy as np
from keras import ops

from benchmarks.timing import median_seconds
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import FieldEmbedding, GatedInteraction, LinearLogit, feature_inputs
from ctr_keras.models import FM
from ctr_keras.plan import Interaction, InteractionPlan

FIELDS = 39


class PairByPair(GatedInteraction):
    """The layer with its pairs computed as the paper's code does."""

    @property
    def _needs_products(self) -> bool:
        return True


@click.command()
@click.option("--rows", default=2000, show_default=True, help="Rows in a batch.")
@click.option("--dim", default=20, show_default=True, help="Width of an embedding.")
@click.option("--vocabulary", default=1000, show_default=True, help="Values of a field.")
@click.option("--repetitions", default=15, show_default=True)
def main(rows: int, dim: int, vocabulary: int, repetitions: int) -> None:
    """Measure, and print a JSON line for each model."""
    names = [f"field_{index}" for index in range(FIELDS)]
    features = FeatureSet(
        *map(Categorical, names),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, vocabulary),
    )
    some = {2: _share(names, 2, 0.3), 3: _share(names, 3, 0.02)}
    models = {
        "FM, linear time": FM(features, dim),
        "FM, all pairs, pair by pair": _pair_by_pair(features, dim),
        "FM, all pairs": FM(features, dim, interactions=InteractionPlan.complete(names)),
        "AutoFM, 30% of pairs": FM(features, dim, interactions=InteractionPlan(some[2])),
        "FM 3rd, all pairs and triples": FM(
            features, dim, interactions=InteractionPlan.complete(names, orders=(2, 3))
        ),
        "AutoFM 3rd, 30% of pairs and 2% of triples": FM(
            features, dim, interactions=InteractionPlan([*some[2], *some[3]])
        ),
    }
    milliseconds = _alternating(models, features, rows, repetitions)
    against = {
        "AutoFM, 30% of pairs": ["FM, all pairs, pair by pair", "FM, all pairs"],
        "AutoFM 3rd, 30% of pairs and 2% of triples": ["FM 3rd, all pairs and triples"],
    }
    for name, value in milliseconds.items():
        ratios = {
            f"of {other}": round(value / milliseconds[other], 3) for other in against.get(name, [])
        }
        line = {"model": name, "milliseconds": round(value, 2), **ratios, "rows": rows, "dim": dim}
        print(json.dumps({**line, "backend": keras.backend.backend()}), flush=True)


def _share(names: Sequence[str], order: int, share: float) -> list[Interaction]:
    every = list(itertools.combinations(names, order))
    chosen = np.random.default_rng(order).choice(
        len(every), round(share * len(every)), replace=False
    )
    return [Interaction(every[index]) for index in sorted(chosen)]


def _pair_by_pair(features: FeatureSet, dim: int) -> keras.Model:
    inputs = feature_inputs(features)
    pairs = PairByPair()(FieldEmbedding(features, dim)(inputs))
    logit = keras.layers.Add()([LinearLogit(features)(inputs), pairs])
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(logit))


def _alternating(
    models: dict[str, Any], features: FeatureSet, rows: int, repetitions: int
) -> dict[str, float]:
    """Median milliseconds of a batch, the models taking turns."""
    draw = np.random.default_rng(0)
    starts = [features.id_ranges[name].start for name in features.field_names]
    width = len(features.id_ranges[features.field_names[0]])
    ids = ops.convert_to_tensor((draw.integers(0, width, (rows, FIELDS)) + starts).astype("int32"))
    tasks = {
        name: functools.partial(model.predict_on_batch, {"categorical": ids})
        for name, model in models.items()
    }
    seconds = median_seconds(tasks, repetitions, warm_up=2)
    return {name: 1000 * value for name, value in seconds.items()}


if __name__ == "__main__":
    main()
