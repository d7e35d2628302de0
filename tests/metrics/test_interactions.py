"""Statistics of interactions against their definitions, row by row."""

import collections
import math

import numpy as np
import pytest

from ctr_keras import metrics
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from tests.packed import packed_inputs

FEATURES = FeatureSet(
    Categorical("a"),
    Categorical("b"),
    Numeric("price"),
    MultiValued("genres", max_length=2),
    Crossed("a", "b"),
    label=Label("click"),
    vocabulary_sizes={"a": 3, "b": 4, "genres": 2, "a_x_b": 5},
)


def some_rows(rows, seed, fields=3):
    draw = np.random.default_rng(seed)
    columns = [draw.integers(0, 4, rows) for _ in range(fields)]
    chance = 0.15 + 0.7 * ((columns[0] + columns[-1]) % 2)
    return columns, (draw.random(rows) < chance).astype(int)


def values_of(inputs, name):
    """A field's value in each row, as something to compare."""
    columns = {
        "a": inputs["categorical"][:, 0],
        "b": inputs["categorical"][:, 1],
        "price": inputs["numeric"][:, 0],
        "a_x_b": inputs["crossed"][:, 0],
    }
    return columns[name].tolist() if name in columns else [*map(tuple, inputs["genres"])]


def test_codes_tell_values_apart_over_all_splits():
    splits = [packed_inputs(FEATURES, rows, seed) for seed, rows in enumerate((40, 25))]
    for inputs in splits:
        inputs["numeric"] = inputs["numeric"].round(0)  # so that some are equal
    coded = metrics.field_codes(FEATURES, *splits)
    for name in FEATURES.field_names:
        values = [value for inputs in splits for value in values_of(inputs, name)]
        codes = [code for codes in coded for code in codes[name].tolist()]
        assert len(set(zip(values, codes, strict=True))) == len(set(values)) == len(set(codes))
        assert set(codes) == set(range(len(set(codes))))
        assert [len(codes[name]) for codes in coded] == [40, 25]


def test_codes_of_some_fields():
    (codes,) = metrics.field_codes(FEATURES, packed_inputs(FEATURES), fields=["genres", "b"])
    assert list(codes) == ["genres", "b"]
    with pytest.raises(ValueError, match="unknown fields nobody; available: "):
        metrics.field_codes(FEATURES, packed_inputs(FEATURES), fields=["a", "nobody"])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_statistics_auc_is_the_auc_of_counted_rates(order):
    train, train_labels = some_rows(150, 0)
    test, test_labels = some_rows(200, 1)
    clicks = collections.defaultdict(list)
    for row, label in zip(zip(*train[:order], strict=True), train_labels, strict=True):
        clicks[row].append(label)
    if order == 3:  # some combinations are new to it
        assert len(clicks) < len(set(zip(*train, strict=True)) | set(zip(*test, strict=True)))
    scores = [
        np.mean(clicks[row]) if row in clicks else np.mean(train_labels)
        for row in zip(*test[:order], strict=True)
    ]
    actual = metrics.statistics_auc(train[:order], train_labels, test[:order], test_labels)
    assert actual == pytest.approx(metrics.auc(test_labels, scores), abs=1e-12)


def test_new_combinations_have_the_rate_of_all_rows():
    # Rates: 1 for code 0, 0 for code 1, 2/3 of all rows for the new code 2.
    train, labels = [[0, 0, 1]], [1, 1, 0]
    assert metrics.statistics_auc(train, labels, [[0, 2]], [1, 0]) == 1.0
    assert metrics.statistics_auc(train, labels, [[2, 1]], [1, 0]) == 1.0
    assert metrics.statistics_auc(train, labels, [[2, 2]], [1, 0]) == 0.5


def test_large_codes_neither_collide_nor_fill_the_memory():
    train, train_labels = some_rows(300, 2)
    test, test_labels = some_rows(300, 3)
    small = metrics.statistics_auc(train, train_labels, test, test_labels)
    spread = [[2**31 - 1 - 500_000_000 * column for column in part] for part in (train, test)]
    assert metrics.statistics_auc(spread[0], train_labels, spread[1], test_labels) == small
    assert metrics.mutual_information(spread[0], train_labels) == pytest.approx(
        metrics.mutual_information(train, train_labels), abs=1e-12
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_mutual_information_by_its_definition(order):
    columns, labels = some_rows(400, 4)
    rows = [*zip(*columns[:order], strict=True)]
    joint = collections.Counter(zip(rows, labels.tolist(), strict=True))
    of_values, of_label = collections.Counter(rows), collections.Counter(labels.tolist())
    # As a divergence from independence, which is not how it is computed.
    expected = sum(
        count / 400 * math.log(count * 400 / (of_values[row] * of_label[label]))
        for (row, label), count in joint.items()
    )
    assert metrics.mutual_information(columns[:order], labels) == pytest.approx(expected, abs=1e-12)


def test_mutual_information_of_nothing_and_of_everything():
    labels = np.array([0, 0, 0, 1] * 25)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert metrics.mutual_information([labels, np.arange(100) % 5], labels) == pytest.approx(
        entropy
    )
    assert metrics.mutual_information([np.repeat([0, 1], 50)], np.tile([0, 1], 50)) == 0.0
    assert metrics.mutual_information([labels], np.ones(100)) == 0.0


@pytest.mark.parametrize(
    ("fields", "labels", "message"),
    [
        ([[0, 1], [0]], [0, 1], "must have the same length"),
        ([], [0, 1], "must have the same length"),
        ([[]], [], "at least 1, got"),
        ([[0, 1]], [0, 2], "0 or 1"),
        ([[0, -1]], [0, 1], "codes must be integers"),
        ([[0.5, 1]], [0, 1], "codes must be integers"),
        ([[0, 2**31]], [0, 1], "codes must be integers"),
    ],
)
def test_what_is_no_code_or_label_is_said(fields, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.mutual_information(fields, labels)
    with pytest.raises(ValueError, match=message):
        metrics.statistics_auc(fields, labels, fields, labels)


def test_both_splits_have_the_same_fields():
    with pytest.raises(ValueError, match="must have the same fields, got 2 and 1"):
        metrics.statistics_auc([[0, 1], [0, 1]], [0, 1], [[0, 1]], [0, 1])
