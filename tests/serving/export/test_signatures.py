"""The graphs of signatures: columns become those of one table, and the model costs few steps."""

import types

import pytest
import tensorflow as tf

from ctr_keras.explain import Explainer
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import AutoInt
from serving.export import signatures
from serving.export.export import _check_transform
from serving.export.signatures import check_lengths, make_endpoints

NAN = float("nan")


def check(**columns):
    """Runs the check with columns of these values."""
    made = {
        name: tf.constant(values, tf.float32 if name == "price" else tf.string)
        for name, values in columns.items()
    }

    @tf.function(input_signature=[{n: tf.TensorSpec([None], of.dtype) for n, of in made.items()}])
    def checked(raw):
        with tf.control_dependencies([check_lengths(raw)]):
            return tf.constant(1)

    checked(made)


@pytest.mark.parametrize(
    "columns",
    [
        {"user": ["u", "v", "w"], "item": [""], "price": [NAN]},
        {"user": ["", "", "w"], "item": ["x", "y", "z"], "price": [1, NAN, 3]},
        {"user": ["u"], "item": ["x"], "price": [1]},
        {"user": [], "item": [], "price": []},
        {"user": [], "item": [], "price": [NAN]},
        {"price": [1.0, 2.0]},
    ],
)
def test_columns_of_one_length_or_one_missing_value_are_those_of_a_table(columns):
    check(**columns)


@pytest.mark.parametrize("wrong", [["x"], ["x", "y"], ["x"] * 4, ["", ""], []])
def test_columns_of_different_lengths_are_named(wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"different lengths.*\[user item\]"):
        check(user=["u", "v", "w"], item=wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[user price\] \[3 2\]"):
        check(user=["u", "v", "w"], price=[NAN, NAN])


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


def test_data_of_an_earlier_transform_are_refused():
    of_rows = tf.TensorSpec([None], tf.string)

    @tf.function(input_signature=[{"user": of_rows, "item": of_rows}])
    def stacked(raw):
        return {"categorical": tf.strings.length(tf.stack([raw["user"], raw["item"]], axis=1))}

    features = FeatureSet(Categorical("user"), Categorical("item"), label=Label("y"))
    transform = types.SimpleNamespace(transform_fn=stacked)
    with pytest.raises(ValueError, match=r"data/old was prepared by an earlier version, .* again$"):
        _check_transform(transform, features, "data/old")
