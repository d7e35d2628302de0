"""Products of pairs of fields through a kernel: those of FwFM, FmFM, KPNN and FiBiNET."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_choice, check_fields, identities
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_KERNELS = ("matrix", "vector", "scalar")
_OWNERS = ("pair", "field", "all")
_GIVEN = ("sum", "numbers", "vectors")


@keras.saving.register_keras_serializable(package="ctr_keras")
class BilinearInteraction(ConfiguredLayer):
    """`<e_i K, e_j>` for all pairs of fields `i < j`: their sum, or a number or vector for each.

    Without a kernel this would be the inner product of a factorization machine, and from the
    default initializer it is. The kernel belongs to the pair, to its first field, or to all pairs.

    A masked field is left out: its products are zero.

    Args:
        kernel: str. `"matrix"`, `"vector"` (`e_i * k`) or `"scalar"` (`k e_i`). Defaults to
            `"matrix"`.
        of: str. Whose kernel it is: that of each `"pair"`, of each `"field"` where it is the first
            of a pair, or of `"all"`. Defaults to `"pair"`.
        gives: str. `"sum"` over all pairs, `"numbers"`, one for each, or `"vectors"`, the
            elementwise products `(e_i K) * e_j`. Defaults to `"sum"`.
        kernel_initializer: initializer of the kernels. Defaults to `None`: identity matrices, or
            ones.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.

    Input shape:
        `(batch, fields, dim)`, of at least two fields.

    Output shape:
        `(batch, 1)`; with `"numbers"` `(batch, pairs)`, with `"vectors"` `(batch, pairs, dim)`.
        Pairs rise by their first field, then by their second.

    Example:

    >>> fields = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    >>> np.array(BilinearInteraction(gives="numbers")(fields)).tolist()  # 1 * 3 + 2 * 4, ...
    [[11.0, 17.0, 39.0]]

    References:
        [FwFM](https://arxiv.org/abs/1806.03514), Section 3; [FmFM](https://arxiv.org/abs/2102.12994),
        Section 3; [PNN](https://arxiv.org/abs/1807.00311), Section 3.3;
        [FiBiNET](https://arxiv.org/abs/1905.09433), Section 3.4.
    """

    def __init__(
        self,
        kernel: str = "matrix",
        of: str = "pair",
        *,
        gives: str = "sum",
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("kernel", kernel, _KERNELS)
        check_choice("of", of, _OWNERS)
        check_choice("gives", gives, _GIVEN)
        self.kernel = kernel
        self.of = of
        self.gives = gives
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape, at_least=2)
        fields, dim = input_shape[1], input_shape[2]
        self._first, self._second = pairs_of(fields)
        count = {"pair": len(self._first), "field": fields, "all": 1}[self.of]
        shapes = {"matrix": (count, dim, dim), "vector": (count, dim), "scalar": (count, 1)}
        self.kernels = self.add_weight(
            name="kernels",
            shape=shapes[self.kernel],
            initializer=self.kernel_initializer or identities,
            regularizer=self.kernel_regularizer,
        )

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            inputs = inputs * ops.cast(mask, inputs.dtype)[:, :, None]
        second = ops.take(inputs, self._second, axis=1)
        if self.of == "pair":
            first = self._through(ops.take(inputs, self._first, axis=1))
        else:
            first = ops.take(self._through(inputs), self._first, axis=1)
        products = first * second
        if self.gives == "sum":
            return ops.sum(products, axis=(1, 2))[:, None]
        return products if self.gives == "vectors" else ops.sum(products, axis=-1)

    def _through(self, vectors: Tensor) -> Tensor:
        """Each vector through its kernel, or all through the only one."""
        kernels = ops.cast(self.kernels, vectors.dtype)
        if self.kernel != "matrix":
            return vectors * kernels
        if self.of == "all":
            return ops.matmul(vectors, kernels[0])
        return ops.einsum("bvd,vde->bve", vectors, kernels)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs  # pairs have none

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, fields, dim = input_shape
        pairs = fields * (fields - 1) // 2
        shapes = {"sum": (batch, 1), "numbers": (batch, pairs), "vectors": (batch, pairs, dim)}
        return shapes[self.gives]


def pairs_of(fields: int) -> tuple[Any, Any]:
    """The first and the second fields of all pairs of this many fields.

    Example:

    >>> pairs_of(3)[0].tolist(), pairs_of(3)[1].tolist()
    ([0, 0, 1], [1, 2, 2])
    """
    first, second = np.array([*itertools.combinations(range(fields), 2)], "int32").T
    return first, second
