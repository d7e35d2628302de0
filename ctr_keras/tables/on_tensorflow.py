"""Rows of tables on TensorFlow, whose gradient of a gather is sparse by itself."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ctr_keras.tables.reading import reading_with


def take(table: Any, rows: Any) -> Any:
    # Not of the table's value: reading a variable that rows are written to copies all of it.
    return tf.gather(_resource(table), rows)


def is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def sum_rows(gradient: Any, table: Any) -> tuple[Any, Any]:
    """The distinct rows of a sparse gradient, and the sum of what it says of each."""
    values = tf.cast(gradient.values, table.dtype)
    rows, places = tf.unique(gradient.indices)
    # A product with a matrix of ones in the places, more than twice as fast as the segment sum.
    count = tf.size(places, tf.int64)
    indices = tf.stack([tf.cast(places, tf.int64), tf.range(count)], axis=1)
    ones = tf.SparseTensor(
        indices, tf.ones([count], values.dtype), [tf.size(rows, tf.int64), count]
    )
    flat = tf.reshape(values, [-1, values.shape[-1]])
    return rows, tf.sparse.sparse_dense_matmul(ones, flat)


def distinct(rows: Any, table: Any) -> Any:
    del table
    return tf.unique(tf.reshape(rows, [-1]))[0]


def read(variable: Any, rows: Any) -> Any:
    return tf.gather(_resource(variable), rows)


def write(variable: Any, rows: Any, values: Any) -> None:
    _resource(variable).scatter_update(tf.IndexedSlices(values, rows))


def train_step(model: Any, step: Callable[[Any], Any], data: Any) -> Any:
    """Keras' own step; before rows are read, an optimizer that asks for it updates them."""
    if not getattr(model.optimizer, "exact", False):
        return step(data)
    with tf.init_scope():  # as Keras does, but only after the first forward pass
        model.optimizer.build(model.trainable_variables)

    def updated(table: Any, rows: Any) -> Any:
        if model.optimizer.updates_rows(table):
            model.optimizer.catch_up(table, distinct(rows, table))
        return take(table, rows)

    with reading_with(updated):
        return step(data)


def _resource(variable: Any) -> Any:
    """The `tf.Variable`; in a stateless scope the tensor that stands for it."""
    return variable.value if isinstance(variable, keras.Variable) else variable
