"""Rows of a prepared log as FuxiCTR is given them."""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ctr_keras.data import open_examples, read_rows
from ctr_keras.features import FeatureSet, MultiValued, Numeric
from ctr_keras.types import Array, Inputs, Rows

_SPLITS = ("train", "validation", "test")


def peer_rows(prepared: str, *, standardized: bool = False) -> dict[str, Any]:
    """A log as FuxiCTR is given it: `ROWS.npz` of `benchmarks.peers.predict_fuxictr`.

    Args:
        prepared: the folder that `ctr-keras prepare` wrote.
        standardized: whether numbers get mean 0 and deviation 1 in the training split.

    Returns:
        By name, columns of fields and labels, `features` and `left_out`.
    """
    features = FeatureSet.load(os.path.join(prepared, "features.json")).without_crossed()
    rows = {split: _whole(prepared, split, features) for split in _SPLITS}
    if standardized and features.numeric:
        numbers = rows["train"][0]["numeric"]
        mean, deviation = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-6)
        rows = {
            split: ({**inputs, "numeric": (inputs["numeric"] - mean) / deviation}, labels)
            for split, (inputs, labels) in rows.items()
        }
    found: dict[str, Any] = {
        "features": json.dumps([one for one, _ in _peer_fields(features, rows["train"][0])]),
        "left_out": json.dumps([feature.name for feature in features.sequences]),
    }
    for split, (inputs, labels) in rows.items():
        found[f"{split}/label"] = labels[:, 0]
        for number, (_, column) in enumerate(_peer_fields(features, inputs)):
            found[f"{split}/{number}"] = column
    return found


def _whole(prepared: str, split: str, features: FeatureSet) -> Rows:
    return read_rows(prepared, split, features, open_examples(prepared, split, features).count)


def _peer_fields(features: FeatureSet, inputs: Inputs) -> Iterator[tuple[dict[str, Any], Array]]:
    """FuxiCTR's specification and the column of each field; ids start from 1 in each."""
    columns = {
        feature.name: inputs[packed] if isinstance(feature, MultiValued) else inputs[packed][:, n]
        for packed, members in features.packed_features.items()
        for n, feature in enumerate(members)
        if packed in inputs and packed not in features.weights_inputs  # which FuxiCTR has not
    }
    for feature in features.fields:
        column = columns[feature.name]
        if isinstance(feature, Numeric) and feature.vocabulary is None:
            yield {"type": "numeric"}, column
            continue
        known = features.id_ranges[features.vocabulary_name(feature)]
        ids = np.where(column == 0, 0, column - known.start + 1)
        specification: dict[str, Any] = {"type": "categorical", "vocab_size": len(known) + 1}
        if isinstance(feature, MultiValued):
            pooling = "layers.MaskedAveragePooling()"
            own = {"padding_idx": 0, "max_len": feature.max_length, "feature_encoder": pooling}
            specification |= {"type": "sequence", **own}
        yield specification, ids
