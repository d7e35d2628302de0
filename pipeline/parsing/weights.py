"""Lists whose values have weights, as `ctr_keras.features.weights` has them, in columns of text."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features import MultiValued
from ctr_keras.features.weights import LARGEST, NOT_A_WEIGHT, WEIGHT
from pipeline.block import Block, mask


def check_weights(block: Block, feature: MultiValued, strings: pa.Array) -> None:
    """Rejects rows with another weight than a finite number of at least 0."""
    lists = pc.split_pattern(strings, feature.separator)
    items, row = lists.flatten(), pc.list_parent_indices(lists)
    weights = pc.replace_substring_regex(items, f"(?s)^.*{_separator(feature)}", "")
    is_there = pc.and_(pc.not_equal(weights, items), pc.not_equal(weights, ""))
    weights, row = weights.filter(is_there), row.filter(is_there)
    is_spelled = pc.match_substring_regex(weights, rf"\A({WEIGHT})\z")
    numbers = pc.if_else(is_spelled, weights, None).cast(pa.float64())
    is_wrong = ~mask(pc.less_equal(numbers, LARGEST))
    first = np.full(len(block), "", object)
    rows = np.asarray(row)[is_wrong][::-1]  # so that the first of a row comes last
    first[rows] = weights.filter(pa.array(is_wrong)).to_pylist()[::-1]
    reason = f"a weight of {feature.name} is {{}}, which {NOT_A_WEIGHT}"
    block.reject_values(first != "", pa.array(first, pa.string()), reason)


def without_weights(feature: MultiValued, items: pa.Array) -> pa.Array:
    """Items of lists as their values alone."""
    return pc.replace_substring_regex(items, f"(?s)^(.*){_separator(feature)}.*$", r"\1")


def _separator(feature: MultiValued) -> str:
    return re.escape(str(feature.weight_separator))
