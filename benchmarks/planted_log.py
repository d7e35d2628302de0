"""Click logs with planted interactions, as in AutoFIS' Section 4.5.2 and beyond it."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
from ctr_keras.types import Array, Rows


@dataclasses.dataclass(frozen=True)
class Planted:
    """Features, the packed rows of three splits, and the logits that made the test rows' clicks."""

    features: FeatureSet
    train: Rows
    validation: Rows
    test: Rows
    truth: Array


def planted_clicks(
    interactions: Iterable[tuple[int, ...]],
    seed: int = 0,
    fields: int = 6,
    categories: int = 10,
    **options: float,
) -> Planted:
    """Clicks with a random table for each of the interactions, tuples of fields."""
    draw = np.random.default_rng([seed, 1])
    tables = {q: draw.normal(size=(categories,) * len(q)) for q in interactions}
    return planted_tables(tables, seed, fields, categories, **options)


def planted_tables(
    tables: Mapping[tuple[int, ...], Array],
    seed: int = 0,
    fields: int = 6,
    categories: int | Sequence[int] = 10,
    *,
    train_rows: int = 100_000,
    validation_rows: int = 0,
    test_rows: int = 20_000,
    linear: float = 1.0,
    noise: float = 0.1,
    crossed: bool = False,
) -> Planted:
    """`y = 1[sum_i w_i(x_i) + sum_q v_q(x_q1, ..., x_qp) + noise >= median]`.

    The tables `v_q` are given, `w_i` are normal with deviation `linear`, the noise with `noise`,
    and a field's categories, of one number or one a field, follow a law drawn from Dirichlet(5).
    With `crossed` there is a crossed feature for every pair of fields.
    """
    counts = [categories] * fields if isinstance(categories, int) else list(categories)
    draw = np.random.default_rng(seed)
    rows = train_rows + validation_rows + test_rows
    laws = [draw.dirichlet(np.full(count, 5.0)) for count in counts]
    values = np.stack([draw.choice(len(law), rows, p=law) for law in laws], axis=1)
    errors = draw.normal(scale=noise, size=rows)
    logits = np.zeros(rows)
    for field, count in enumerate(counts):
        logits += draw.normal(scale=linear, size=count)[values[:, field]]
    for combination, table in tables.items():
        logits += table[tuple(values[:, field] for field in combination)]
    noisy = logits + errors
    clicks = (noisy >= np.median(noisy[:train_rows])).astype("float32")[:, None]
    features = _features(counts, crossed)
    inputs = _packed(features, values, counts)
    ends = np.cumsum([train_rows, validation_rows, test_rows])

    def split(start: int, end: int) -> Rows:
        return {name: array[start:end] for name, array in inputs.items()}, clicks[start:end]

    splits = [split(start, end) for start, end in itertools.pairwise([0, *ends])]
    return Planted(features, *splits, logits[ends[1] :])


def _features(counts: Sequence[int], crossed: bool) -> FeatureSet:
    sizes = {f"f{field}": count for field, count in enumerate(counts)}
    pairs = list(itertools.combinations(sizes, 2)) if crossed else []
    crosses = [Crossed(*pair) for pair in pairs]
    fields = [*map(Categorical, sizes), *crosses]
    sizes |= {cross.name: sizes[cross.first] * sizes[cross.second] for cross in crosses}
    return FeatureSet(*fields, label=Label("click"), vocabulary_sizes=sizes)


def _packed(features: FeatureSet, values: Array, counts: Sequence[int]) -> dict[str, Array]:
    """Ids of the values and of their pairs; a vocabulary's known ids are its last."""

    def ids(columns: Sequence[Array], names: Sequence[str]) -> Array:
        sizes = features.vocabulary_sizes
        starts = [features.id_ranges[name].stop - sizes[name] for name in names]
        return (np.stack(columns, axis=1) + starts).astype("int32")

    inputs = {"categorical": ids(list(values.T), [f.name for f in features.categorical])}
    if features.crossed:
        pairs = itertools.combinations(range(len(counts)), 2)
        joined = [counts[j] * values[:, i] + values[:, j] for i, j in pairs]
        inputs["crossed"] = ids(joined, [cross.name for cross in features.crossed])
    return inputs
