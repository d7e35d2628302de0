"""Click logs with planted interactions, as in AutoFIS' Section 4.5.2 and beyond it."""

import dataclasses
import itertools

import numpy as np

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label


@dataclasses.dataclass(frozen=True)
class Planted:
    """Features and the packed rows of two splits."""

    features: FeatureSet
    train: tuple
    test: tuple


def planted_clicks(interactions, seed=0, fields=6, categories=10, **rows) -> Planted:
    """Clicks with a random table for each of the interactions, tuples of fields."""
    draw = np.random.default_rng([seed, 1])
    tables = {q: draw.normal(size=(categories,) * len(q)) for q in interactions}
    return planted_tables(tables, seed, fields, categories, **rows)


def planted_tables(
    tables,
    seed=0,
    fields=6,
    categories=10,
    train_rows=100_000,
    test_rows=20_000,
    linear=1.0,
    crossed=False,
) -> Planted:
    """`y = 1[sum_i w_i(x_i) + sum_q v_q(x_q1, ..., x_qp) + noise >= median]`.

    The tables `v_q` are given, `w_i` are normal with deviation `linear`, the noise with 0.1, and
    a field's categories follow a law drawn from Dirichlet(5). With `crossed` there is a crossed
    feature for every pair of fields.
    """
    draw = np.random.default_rng(seed)
    rows = train_rows + test_rows
    laws = draw.dirichlet(np.full(categories, 5.0), size=fields)
    values = np.stack([draw.choice(categories, rows, p=law) for law in laws], axis=1)
    logits = draw.normal(scale=0.1, size=rows)
    for field in range(fields):
        logits += draw.normal(scale=linear, size=categories)[values[:, field]]
    for combination, table in tables.items():
        logits += table[tuple(values[:, field] for field in combination)]
    clicks = (logits >= np.median(logits[:train_rows])).astype("float32")[:, None]
    names = [f"f{field}" for field in range(fields)]
    pairs = list(itertools.combinations(range(fields), 2)) if crossed else []
    crosses = [Crossed(names[first], names[second]) for first, second in pairs]
    sizes = dict.fromkeys(names, categories)
    sizes |= {cross.name: categories**2 for cross in crosses}
    features = FeatureSet(
        *map(Categorical, names), *crosses, label=Label("click"), vocabulary_sizes=sizes
    )

    def ids(columns, names, size):
        starts = [features.id_ranges[name].stop - size for name in names]
        return (np.stack(columns, axis=1) + starts).astype("int32")

    inputs = {"categorical": ids(list(values.T), names, categories)}
    if crossed:
        joined = [categories * values[:, i] + values[:, j] for i, j in pairs]
        inputs["crossed"] = ids(joined, [cross.name for cross in crosses], categories**2)

    def split(part):
        return {name: array[part] for name, array in inputs.items()}, clicks[part]

    return Planted(features, split(slice(train_rows)), split(slice(train_rows, None)))
