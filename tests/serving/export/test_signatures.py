"""Columns of requests become those of one table."""

import numpy as np
import pytest
import tensorflow as tf

from serving.export.signatures import same_length


def table(**columns):
    made = {name: tf.constant(values) for name, values in columns.items()}
    specs = {name: tf.TensorSpec([None], column.dtype) for name, column in made.items()}
    as_graph = tf.function(same_length, input_signature=[specs])
    return {name: column.numpy().tolist() for name, column in as_graph(made).items()}


def test_what_is_missing_is_repeated_for_every_row():
    nan = float("nan")
    got = table(a=["x", "y", "z"], b=[""], c=[1.0, 2.0, 3.0], d=[nan])
    assert got["a"] == [b"x", b"y", b"z"]
    assert got["b"] == [b""] * 3
    assert got["c"] == [1.0, 2.0, 3.0]
    assert np.isnan(got["d"]).tolist() == [True] * 3


def test_columns_of_one_row_and_of_none():
    assert table(a=["x"], b=[1.0]) == {"a": [b"x"], "b": [1.0]}
    empty = {"a": np.array([], object), "b": np.array([], np.float32)}
    specs = {"a": tf.TensorSpec([None], tf.string), "b": tf.TensorSpec([None], tf.float32)}
    as_graph = tf.function(same_length, input_signature=[specs])
    got = as_graph({"a": tf.constant(empty["a"], tf.string), "b": tf.constant(empty["b"])})
    assert {name: column.shape.as_list() for name, column in got.items()} == {"a": [0], "b": [0]}


@pytest.mark.parametrize("wrong", [["x"], ["x", "y"], ["x"] * 4])
def test_columns_of_different_lengths_are_named(wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"different lengths.*\[user item\]"):
        table(user=["u", "v", "w"], item=wrong)
