"""Click logs with planted interactions, as in AutoFIS' Section 4.5.2 and beyond it."""

import dataclasses

import numpy as np

from ctr_keras.features import Categorical, FeatureSet, Label


@dataclasses.dataclass(frozen=True)
class Planted:
    """Features and the packed rows of two splits."""

    features: FeatureSet
    train: tuple
    test: tuple


def planted_clicks(
    interactions, seed=0, fields=6, categories=10, train_rows=100_000, test_rows=20_000
) -> Planted:
    """`y = 1[sum_i w_i(x_i) + sum_q v_q(x_q1, ..., x_qp) + noise >= median]`.

    All tables are normal with mean 0 and variance 1, the noise with variance 0.01, and a field's
    categories follow a law drawn from Dirichlet(5).
    """
    draw = np.random.default_rng(seed)
    rows = train_rows + test_rows
    laws = draw.dirichlet(np.full(categories, 5.0), size=fields)
    values = np.stack([draw.choice(categories, rows, p=law) for law in laws], axis=1)
    logits = draw.normal(scale=0.1, size=rows)
    for field in range(fields):
        logits += draw.normal(size=categories)[values[:, field]]
    for combination in interactions:
        table = draw.normal(size=(categories,) * len(combination))
        logits += table[tuple(values[:, field] for field in combination)]
    clicks = (logits >= np.median(logits[:train_rows])).astype("float32")[:, None]
    names = [f"f{field}" for field in range(fields)]
    features = FeatureSet(
        *(Categorical(name) for name in names),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, categories),
    )
    starts = [features.id_ranges[name].stop - categories for name in names]
    ids = (values + starts).astype("int32")
    return Planted(
        features,
        ({"categorical": ids[:train_rows]}, clicks[:train_rows]),
        ({"categorical": ids[train_rows:]}, clicks[train_rows:]),
    )
