"""Rows of tables on TensorFlow, where the gradient of a gather is sparse already."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ctr_keras.keras_internals import take_gradients_as_they_are
from ctr_keras.tables.reading import current_reader, reading_with
from ctr_keras.tables.updating import catches_up, updates_rows
from ctr_keras.types import Tensor, Variable

HAS_ROW_GRADIENTS = True


def take(table: Variable, rows: Tensor) -> Tensor:
    # Not of the table's value: reading a variable that rows are written to copies all of it.
    return tf.gather(_resource(table), rows)


def is_symbolic(tensor: Tensor) -> bool:
    return bool(tf.is_symbolic_tensor(tensor))


def is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def caught_up() -> bool:
    """Whether the rows of this step have caught up before they were read."""
    return current_reader() is not None


def sum_rows(gradient: tf.IndexedSlices, table: Variable) -> tuple[Tensor, Tensor]:
    """The distinct rows of a sparse gradient, and the sum of each row's values."""
    rows, places = tf.unique(gradient.indices)
    values = tf.reshape(tf.cast(gradient.values, table.dtype), [-1, table.shape[-1]])
    if _compiles_with_xla() or _has_accelerator():
        return rows, tf.math.unsorted_segment_sum(values, places, tf.size(rows))
    return rows, _product(values, places, tf.size(rows, tf.int64))


def _product(values: Tensor, places: Tensor, size: Tensor) -> Tensor:
    """A segment sum as a matrix product, more than twice as fast on a CPU.

    The sums `(size, dim)` are the product of a sparse matrix `(size, n)`, which has a one where a
    value belongs to a row, and the values `(n, dim)`. XLA has no such product.
    """
    count = tf.size(places, tf.int64)
    indices = tf.stack([tf.cast(places, tf.int64), tf.range(count)], axis=1)
    ones = tf.SparseTensor(indices, tf.ones([count], values.dtype), [size, count])
    return tf.sparse.sparse_dense_matmul(ones, values)


def _compiles_with_xla() -> bool:
    """Whether the function that is being traced, or one around it, has `jit_compile=True`."""
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def _has_accelerator() -> bool:
    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())


def whole(gradient: Any, variable: Variable) -> Tensor:
    """A gradient as a tensor of the variable's shape."""
    if not is_sparse(gradient):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape[0])


def has_replicas() -> bool:
    """Whether a strategy trains replicas of the model, each on its part of a batch. A single one is
    no other case: its variables, too, are updated in another thread than that of its step."""
    return bool(tf.distribute.has_strategy())


def distinct(rows: Tensor, table: Variable) -> Tensor:
    del table
    return tf.unique(tf.reshape(rows, [-1]))[0]


def read(variable: Variable, rows: Tensor) -> Tensor:
    return tf.gather(_resource(variable), rows)


def write(variable: Variable, rows: Tensor, values: Tensor) -> None:
    _resource(variable).scatter_update(tf.IndexedSlices(values, rows))


def change_if(condition: Tensor, variable: Variable, change: Callable[[Tensor], Tensor]) -> None:
    resource = _resource(variable)

    def changed() -> Tensor:
        resource.assign(change(resource.read_value()))
        return tf.constant(True)

    tf.cond(condition, changed, lambda: tf.constant(False))


def in_blocks(step: Callable[[Tensor], None], written: Sequence[Variable], block: int) -> None:
    """Calls a step with all rows of the variables that it writes, `block` of them at a time."""
    size = written[0].shape[0]
    for start in range(0, size, block):
        step(tf.range(start, min(start + block, size)))


def train_step(model: keras.Model, step: Callable[[Any], Any], data: Any) -> Any:
    """Keras' own step, in which rows catch up before they are read, where the optimizer asks."""
    optimizer = model.optimizer
    if not has_replicas():
        take_gradients_as_they_are(optimizer)
    if not catches_up(optimizer):
        return step(data)
    if not model.built:
        with keras.StatelessScope():
            model(keras.utils.unpack_x_y_sample_weight(data)[0])
    with tf.init_scope():  # as Keras does, but only after the first forward pass
        optimizer.build(model.trainable_variables)

    def after_catching_up(table: Variable, rows: Tensor) -> Tensor:
        if updates_rows(optimizer, table):
            optimizer.catch_up(table, distinct(rows, table))
        return take(table, rows)

    with reading_with(after_catching_up):
        return step(data)


def _resource(variable: Variable) -> tf.Variable:
    """The `tf.Variable`; in a stateless scope the tensor that stands for it."""
    return variable.value if isinstance(variable, keras.Variable) else variable
