"""Weights of rows from a log to training, past models and requests."""

import json

import numpy as np

from ctr_keras.data import open_examples
from ctr_keras.features import FeatureSet
from pipeline.prepare import prepare

YAML = """
source: {format: csv}
label: click
weight: cost
features:
  - {kind: categorical, name: site}
  - {kind: numeric, name: price}
split: {by: random, validation: 0, test: 0}
"""


def test_weights_come_out_of_prepare_with_their_rows(tmp_path):
    rows = [(f"s{number % 3}", number, number % 2, 0.25 * number) for number in range(40)]
    lines = ["site,price,click,cost", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "log.yaml").write_text(YAML)
    out = str(tmp_path / "prepared")
    prepare(str(tmp_path / "log.yaml"), str(tmp_path / "log.csv"), out)
    features = FeatureSet.load(f"{out}/features.json")
    assert set(features.raw_columns) == {"site", "price"}
    examples = open_examples(out, "train", features, inputs=["numeric", "cost"])
    ((columns, labels),) = examples.read(100)
    prices = columns["numeric"][:, 0]
    np.testing.assert_array_equal(np.sort(prices), np.arange(40))
    np.testing.assert_array_equal(columns["cost"][:, 0], 0.25 * prices)
    np.testing.assert_array_equal(labels[:, 0], prices % 2)
    first = json.loads(
        (tmp_path / "prepared" / "samples.jsonl").read_text().partition("\n")[0] or "{}"
    )
    assert "cost" not in first
