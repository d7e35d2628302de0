"""The class of all models of this library."""

from typing import Any

import keras

from ctr_keras import tables


@keras.saving.register_keras_serializable(package="ctr_keras")
class CTRModel(keras.Model):
    """A functional Keras model whose `fit` trains the rows of tables that a batch reads.

    With one of `ctr_keras.optimizers`' sparse optimizers, a step touches no other rows, however
    large the vocabulary. On TensorFlow any `keras.Model` does so with `SparseAdam`; on JAX, and for
    its exact mode, it takes this class, which all builders of `ctr_keras.models` return. Such an
    optimizer takes any policy but `mixed_float16`, which scales the loss.

    Args:
        inputs, outputs, name: as in `keras.Model`.

    Example:

    >>> x = keras.Input((2,))
    >>> CTRModel(x, keras.layers.Dense(1)(x)).output_shape
    (None, 1)
    """

    def train_step(self, *arguments: Any) -> Any:
        scaled = getattr(self.optimizer, "inner_optimizer", None)  # by Keras, for mixed_float16
        if any(tables.updates_rows(scaled, variable) for variable in self.trainable_variables):
            raise ValueError(
                "a sparse optimizer cannot undo the loss scale of mixed_float16: "
                "use mixed_bfloat16, or one of Keras' optimizers (`table_updates=dense`)"
            )
        return tables.train_step(self, super().train_step, *arguments)
