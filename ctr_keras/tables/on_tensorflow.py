"""Rows of tables on TensorFlow, where the gradient of a gather is sparse already."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ctr_keras.tables.reading import reading_with
from ctr_keras.tables.updating import catches_up, updates_rows
from ctr_keras.types import Tensor, Variable


def take(table: Variable, rows: Tensor) -> Tensor:
    # Not of the table's value: reading a variable that rows are written to copies all of it.
    return tf.gather(_resource(table), rows)


def is_symbolic(tensor: Tensor) -> bool:
    return bool(tf.is_symbolic_tensor(tensor))


def is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def sum_rows(gradient: tf.IndexedSlices, table: Variable) -> tuple[Tensor, Tensor]:
    """The distinct rows of a sparse gradient, and the sum of each row's values.

    With `n` values for `d` distinct rows, the sums `(d, dim)` are the product of a sparse matrix
    `(d, n)`, which has a one where a value belongs to a row, and the values `(n, dim)`. That is
    more than twice as fast as a segment sum.
    """
    values = tf.cast(gradient.values, table.dtype)
    rows, places = tf.unique(gradient.indices)
    count = tf.size(places, tf.int64)
    indices = tf.stack([tf.cast(places, tf.int64), tf.range(count)], axis=1)
    ones = tf.SparseTensor(
        indices, tf.ones([count], values.dtype), [tf.size(rows, tf.int64), count]
    )
    flat = tf.reshape(values, [-1, values.shape[-1]])
    return rows, tf.sparse.sparse_dense_matmul(ones, flat)


def distinct(rows: Tensor, table: Variable) -> Tensor:
    del table
    return tf.unique(tf.reshape(rows, [-1]))[0]


def read(variable: Variable, rows: Tensor) -> Tensor:
    return tf.gather(_resource(variable), rows)


def write(variable: Variable, rows: Tensor, values: Tensor) -> None:
    _resource(variable).scatter_update(tf.IndexedSlices(values, rows))


def train_step(model: keras.Model, step: Callable[[Any], Any], data: Any) -> Any:
    """Keras' own step, in which an exact optimizer catches up with rows before they are read."""
    optimizer = model.optimizer
    if not catches_up(optimizer):
        return step(data)
    with tf.init_scope():  # as Keras does, but only after the first forward pass
        optimizer.build(model.trainable_variables)

    def caught_up(table: Variable, rows: Tensor) -> Tensor:
        if updates_rows(optimizer, table):
            optimizer.catch_up(table, distinct(rows, table))
        return take(table, rows)

    with reading_with(caught_up):
        return step(data)


def _resource(variable: Variable) -> tf.Variable:
    """The `tf.Variable`; in a stateless scope the tensor that stands for it."""
    return variable.value if isinstance(variable, keras.Variable) else variable
