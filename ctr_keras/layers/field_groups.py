"""AutoGroup's groups of fields, whose interactions become a number a group."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_fields
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_LOGITS = 1e-3  # how far from 0 they start, as in the authors' code


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldGroups(PoolingLayer):
    """The interactions of one order within groups of fields: a number for each group.

    A group `g` weighs the embeddings of its fields by numbers of its own, `v_i = w_ig e_i`, and of
    order `p` gives `sum_d [(sum_i v_id)^p - correction * sum_i v_id^p]`: all products of `p` of
    them, less the powers of each. Of order 2 and with weights of 1 that is twice the interactions
    of a factorization machine of the group's fields. Of order 1 a group gives the vector
    `sum_i v_i`. The cost is linear in the number of fields.

    Args:
        groups: int or list of lists of int. The fields of each group by their indices; or the
            number of groups, each of all fields.
        order: int. Defaults to `2`.
        correction: float. How much of the powers of single fields is taken off. Defaults to `1.0`.
        kernel_initializer: initializer of the weights `w`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of these. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, groups)`; `(batch, groups * dim)` of order 1.

    Raises:
        ValueError: for an order below 1, no groups, or a group of fields that are not there.

    Example:

    >>> import numpy as np
    >>> layer = FieldGroups([[0, 1], [0, 1, 2]], kernel_initializer="ones")
    >>> np.array(layer(np.array([[[1.0], [2.0], [3.0]]]))).tolist()  # 2 * 2; 2 * (2 + 3 + 6)
    [[4.0, 22.0]]

    References:
        AutoGroup: Liu et al., SIGIR 2020, Section 3.2.
    """

    def __init__(
        self,
        groups: int | Sequence[Sequence[int]],
        order: int = 2,
        *,
        correction: float = 1.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if order < 1:
            raise ValueError(f"order must be at least 1. Received: {order}")
        self.groups = groups if isinstance(groups, int) else tuple(map(tuple, groups))
        if self.count < 1:
            raise ValueError(f"there must be at least 1 group. Received: {groups}")
        self.order = order
        self.correction = correction
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.groups if isinstance(self.groups, int) else len(self.groups)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        fields = input_shape[1]
        self._members = np.ones((fields, self.count), "float32")
        if not isinstance(self.groups, int):
            unknown = sorted({i for group in self.groups for i in group} - set(range(fields)))
            if unknown:
                raise ValueError(f"groups name fields {unknown}. Received: {input_shape}")
            for place, group in enumerate(self.groups):
                self._members[:, place] = np.isin(np.arange(fields), group)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(fields, self.count),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    def members(self, training: bool) -> Tensor:
        """Which fields are in which groups, 1 or 0: `(fields, groups)`."""
        del training
        return ops.convert_to_tensor(self._members)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        # Powers leave the range of half precision.
        fields = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        weights = ops.cast(self.kernel, fields.dtype)
        weights *= ops.cast(self.members(bool(training)), fields.dtype)
        outputs = ops.einsum("bfd,fg->bgd", fields, weights)
        if self.order == 1:
            outputs = ops.reshape(outputs, (-1, self.count * inputs.shape[2]))
        else:
            own = ops.matmul(ops.sum(fields**self.order, axis=2), weights**self.order)
            outputs = ops.sum(outputs**self.order, axis=2) - self.correction * own
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.count * (input_shape[2] if self.order == 1 else 1))


@keras.saving.register_keras_serializable(package="ctr_keras")
class GatedGroups(FieldGroups):
    """`FieldGroups` that learn which fields are in which groups.

    Each field has a logit in each group. It is in the group where the logit is over 0; in training,
    where logit and noise together are. The noise is the difference of two Gumbel ones, those of
    being in and of being out, so that the field is in with the probability `sigmoid(logit)`.
    Gradients take the choice to be `sigmoid((logit + noise) / temperature)`.

    Args:
        groups: int. Number of groups.
        order, correction, kernel_initializer, kernel_regularizer: as in `FieldGroups`.
        temperature: float. Defaults to `1.0`.
        gumbel_noise: bool. Whether there is noise in training, drawn anew for each place and batch.
            Defaults to `True`.
        seed: int or None. Of the noise. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        training: bool. Whether there is noise, and logits have gradients.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        As that of `FieldGroups`.

    Raises:
        ValueError: for a temperature that is not over 0.

    Example:

    >>> import numpy as np
    >>> layer = GatedGroups(1, kernel_initializer="ones")
    >>> layer.build((None, 3, 1))
    >>> _ = layer.logits.assign([[2.0], [1.0], [-1.0]])
    >>> np.array(layer(np.array([[[1.0], [2.0], [3.0]]]))).tolist()
    [[4.0]]

    References:
        AutoGroup: Liu et al., SIGIR 2020, Section 3.1.
    """

    def __init__(
        self,
        groups: int,
        order: int = 2,
        *,
        correction: float = 1.0,
        temperature: float = 1.0,
        gumbel_noise: bool = True,
        seed: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            groups,
            order,
            correction=correction,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )
        if temperature <= 0:
            raise ValueError(f"temperature must be over 0. Received: {temperature}")
        self.temperature = temperature
        self.gumbel_noise = gumbel_noise
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.logits = self.add_weight(
            name="logits",
            shape=(input_shape[1], self.count),
            initializer=keras.initializers.RandomUniform(-_LOGITS, _LOGITS),
            dtype="float32",
            autocast=False,
        )
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def members(self, training: bool) -> Tensor:
        logits = ops.convert_to_tensor(self.logits)
        if training and self.gumbel_noise:
            draw = keras.random.uniform(logits.shape, 1e-6, 1 - 1e-6, seed=self.seed_generator)
            logits = logits + ops.log(draw) - ops.log(1 - draw)
        chosen = ops.cast(logits > 0, logits.dtype)
        if not training:
            return chosen
        soft = ops.sigmoid(logits / self.temperature)
        return soft + ops.stop_gradient(chosen - soft)
