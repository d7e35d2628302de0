"""The graphs of signatures: columns become those of one table, and the model costs few steps."""

import types

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.explain import Explainer
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import AutoInt
from serving.export import signatures
from serving.export.signatures import make_endpoints, same_length


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


def operations_of_autoint():
    """What a row of numbers as ids runs, by name."""
    features = FeatureSet(
        Categorical("user"),
        Categorical("item"),
        label=Label("y"),
        vocabulary_sizes={"user": 3, "item": 4},
    )
    model = AutoInt(features, dim=2, layers=2, head_dim=2)

    def ids(raw):
        digits = [tf.strings.to_number(raw[name], tf.int64) for name in ("user", "item")]
        return {"categorical": tf.stack(digits, axis=1)}

    endpoints = make_endpoints(
        model,
        features,
        types.SimpleNamespace(transform_fn=ids),
        frozenset(["item"]),
        Explainer(model, features),
    )
    graph = endpoints["serving_default"].get_concrete_function().graph
    return [operation.type for operation in graph.get_operations()]


def test_small_weights_are_constants_and_large_ones_variables(monkeypatch):
    assert not {"ReadVariableOp", "ResourceGather"}.intersection(operations_of_autoint())
    monkeypatch.setattr(signatures, "_MAX_CONSTANT", 10)  # the table has 18 elements
    assert operations_of_autoint().count("ResourceGather") == 1


def test_products_of_attention_work_no_shapes_out():
    assert "Prod" not in operations_of_autoint()  # as a product of a tensor and a matrix does
