"""The gated interaction layer of AutoFIS and AIM."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_choice
from ctr_keras.layers.batch_normalization import BatchNormalization
from ctr_keras.plan import FUNCTIONS, ORDERS
from ctr_keras.types import Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class GatedInteraction(PoolingLayer):
    """Sum over chosen combinations of fields of a gate times a normalized interaction.

    `output = sum_q alpha_q norm(f(e_q1, ..., e_qp))` for index tuples `q`, with an interaction
    function of `h = e_q1 * ... * e_qp` (elementwise):

    - `"inner"`: `sum_d h_d`
    - `"vector"`: `sum_d phi_qd h_d`, a vector kernel for each combination
    - `"scalar"`: `phi_q sum_d h_d`, a scalar kernel for each combination
    - `"outer"`: `prod_r <w_r, e_qr>`, the rank-one outer product, its `w_1`, ..., `w_p` common to
      all combinations; `w_1` belongs to the field of the lowest index, so it is not symmetric

    The normalization is a batch normalization of each combination without scale and shift; it keeps
    gates comparable whatever the size of the embeddings. The gates are one weight, `gates`, so that
    an optimizer of their own can own them. Only the chosen combinations are computed; an
    `InteractionPlan` of those whose gates a search left open gives the layer without the others.

    One layer has one order and one function. Give several layers one tensor of embeddings to share
    it among functions, or each its own (AIM's function-wise embeddings).

    A combination with a masked field contributes zero.

    Args:
        combinations: list of index tuples, each rising, or None for all of `order`; see
            `InteractionPlan.combinations`. Defaults to `None`.
        order: int. Number of fields in a combination, 2 to 4. Defaults to `2`.
        function: str. `"inner"`, `"vector"`, `"scalar"` or `"outer"`. Defaults to `"inner"`.
        gated: bool. Whether there are gates. Defaults to `True`.
        normalized: bool. Whether there is a normalization. Defaults to `True`.
        summed: bool. Whether to return the sum rather than each combination's term.
            Defaults to `True`.
        momentum: float. Of the normalization (see `BatchNormalization`). Defaults to `0.9`.
        epsilon: float or None. Of the normalization. Defaults to `None`: 1e-3, or 1e-10 for
            order 4, whose products of four small numbers would vanish in it.
        gate_initializer: initializer of the gates. Defaults to `None`: uniform in [0.599, 0.601].
        kernel_initializer: initializer of `phi` or `w`. Defaults to `None`: truncated normal with
            standard deviation 0.001 for `phi`, uniform within `sqrt(6 / (dim + 1))` for `w`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.
        training: bool. Whether batch statistics are used.
        return_products: bool. Whether to return the interactions before gate, normalization and sum
            over `d` as well.
        return_terms: bool. Whether to return each combination's term, as `summed=False` has it, as
            well.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, 1)`, or `(batch, combinations)` with `summed=False`.

    Returns:
        The output, or a tuple of it and what else is asked for: the products
        `(batch, combinations, dim)`, for `"outer"` `(batch, combinations, 1)`, and the terms
        `(batch, combinations)`.

    Example:

    >>> import numpy as np
    >>> layer = GatedInteraction([(0, 1), (1, 3)], normalized=False, gate_initializer="ones")
    >>> np.array(layer(np.ones((1, 4, 2), "float32"))).tolist()
    [[4.0]]

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3, Equations 10 and 12;
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, Equations 12 to 14 and 20.
    """

    def __init__(
        self,
        combinations: Sequence[Sequence[int]] | None = None,
        order: int = 2,
        function: str = "inner",
        *,
        gated: bool = True,
        normalized: bool = True,
        summed: bool = True,
        momentum: float = 0.9,
        epsilon: float | None = None,
        gate_initializer: Initializer = None,
        kernel_initializer: Initializer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if order not in ORDERS:
            raise ValueError(f"order must be one of {ORDERS}. Received: {order}")
        check_choice("function", function, FUNCTIONS)
        self.combinations = None if combinations is None else _checked(combinations, order)
        self.order = order
        self.function = function
        self.gated = gated
        self.normalized = normalized
        self.summed = summed
        self.momentum = momentum
        self.epsilon = epsilon
        self.gate_initializer = keras.initializers.get(
            gate_initializer or keras.initializers.RandomUniform(0.599, 0.601)
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3 or None in input_shape[1:]:
            raise ValueError(
                f"input must be (batch, fields, dim), both known. Received: {input_shape}"
            )
        fields, dim = input_shape[1], input_shape[2]
        self.terms = self._all(fields) if self.combinations is None else self.combinations
        if any(term[-1] >= fields for term in self.terms):
            raise ValueError(
                f"the combinations {self.terms} go beyond the fields. Received: {input_shape}"
            )
        if not self.terms:
            return
        self._build_kernel(dim)
        if self.normalized:
            default = 1e-10 if self.order == 4 else 1e-3
            self.normalization = BatchNormalization(
                momentum=self.momentum,
                epsilon=default if self.epsilon is None else self.epsilon,
                center=False,
                scale=False,
                dtype=self.dtype_policy,
                name="normalization",
            )
            self.normalization.build((input_shape[0], len(self.terms)))
        if self.gated:
            self.gates = self.add_weight(
                name="gates", shape=(len(self.terms),), initializer=self.gate_initializer
            )

    def _build_kernel(self, dim: int) -> None:
        shapes = {
            "vector": (len(self.terms), dim),
            "scalar": (len(self.terms), 1),
            "outer": (self.order, dim),
        }
        if self.function not in shapes:
            return
        initializer = self.kernel_initializer
        if initializer is None and self.function == "outer":
            bound = (6 / (dim + 1)) ** 0.5
            initializer = keras.initializers.RandomUniform(-bound, bound)
        elif initializer is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.001)
        self.kernel = self.add_weight(
            name="kernel", shape=shapes[self.function], initializer=initializer
        )

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_products: bool = False,
        return_terms: bool = False,
    ) -> Tensor:
        if self._needs_products or return_products:
            products = self._products(inputs)
            terms = ops.sum(products, axis=-1)
        else:
            terms = self._inner_products(inputs)
        if self.normalized and self.terms:
            terms = self.normalization(terms, training=training)
        if self.gated and self.terms:
            terms = terms * ops.cast(self.gates, terms.dtype)
        if mask is not None:
            for place in range(self.order):
                terms = terms * ops.cast(self._take(mask, place), terms.dtype)
        output = ops.sum(terms, axis=1, keepdims=True) if self.summed else terms
        extra = ([products] if return_products else []) + ([terms] if return_terms else [])
        return (output, *extra) if extra else output

    @property
    def _needs_products(self) -> bool:
        """Whether terms cannot be had from the pairs' inner products."""
        return self.order > 2 or self.function not in ("inner", "scalar") or not self.terms

    def _inner_products(self, inputs: Tensor) -> Tensor:
        """Terms of pairs out of one matrix product of all fields with all.

        `gram[i, j] = <e_i, e_j>`; flattened by rows, the pair (i, j) stands at `i * fields + j`.
        """
        fields = inputs.shape[1]
        gram = ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1)))
        places = np.array([first * fields + second for first, second in self.terms], "int32")
        terms = ops.take(ops.reshape(gram, (-1, fields * fields)), places, axis=1)
        return (
            terms * ops.cast(self.kernel[:, 0], terms.dtype) if self.function == "scalar" else terms
        )

    def _products(self, inputs: Tensor) -> Tensor:
        """What each combination contributes, still to be summed over the last axis."""
        if not self.terms:
            return inputs[:, :0, :1] if self.function == "outer" else inputs[:, :0]
        if self.function == "outer":
            # The outer product of p vectors, summed with the rank-one weights w_1 x ... x w_p, is
            # the product of the p numbers <w_r, e_qr>; projected[:, i, r] is <w_r, e_i>.
            kernel = ops.cast(self.kernel, inputs.dtype)
            projected = ops.matmul(inputs, ops.transpose(kernel))
            factors = [
                self._take(projected[:, :, place : place + 1], place) for place in range(self.order)
            ]
        else:
            factors = [self._take(inputs, place) for place in range(self.order)]
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        if self.function in ("vector", "scalar"):
            product = product * ops.cast(self.kernel, product.dtype)
        return product

    def _take(self, fields: Tensor, place: int) -> Tensor:
        """The field that stands at a place of each combination."""
        return ops.take(fields, np.array([term[place] for term in self.terms], "int32"), axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 1 if self.summed else self._count(input_shape))

    def _all(self, fields: int) -> tuple[tuple[int, ...], ...]:
        return tuple(itertools.combinations(range(fields), self.order))

    def _count(self, input_shape: Shape) -> int:
        if self.combinations is not None:
            return len(self.combinations)
        return len(self._all(input_shape[1]))

    def compute_output_spec(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_products: bool = False,
        return_terms: bool = False,
    ) -> Tensor:
        del mask, training
        terms = (inputs.shape[0], self._count(inputs.shape))
        width = 1 if self.function == "outer" else inputs.shape[2]
        shapes = [self.compute_output_shape(inputs.shape)]
        shapes += [(*terms, width)] if return_products else []
        shapes += [terms] if return_terms else []
        specs = tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)
        return specs if len(specs) > 1 else specs[0]


def _checked(combinations: Sequence[Sequence[int]], order: int) -> tuple[tuple[int, ...], ...]:
    checked = tuple(tuple(int(index) for index in term) for term in combinations)
    for term in checked:
        rises = all(low < high for low, high in itertools.pairwise(term))
        if len(term) != order or not rises or term[0] < 0:
            raise ValueError(f"a combination is {order} rising indices of fields. Received: {term}")
    if len(set(checked)) != len(checked):
        raise ValueError(f"a combination is given twice. Received: {checked}")
    return checked
