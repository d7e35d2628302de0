"""OptInter's combination block: each pair of fields memorized, factorized or left alone."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_choice
from ctr_keras.plan import METHODS
from ctr_keras.types import Initializer, Inputs, Shape, Tensor

Pairs = tuple[tuple[int, int], ...]
_FACTOR_FUNCTIONS = ("hadamard", "addition", "generalized")


@keras.saving.register_keras_serializable(package="ctr_keras")
class CombinationBlock(ConfiguredLayer):
    """A vector for each pair of fields, by one of three methods.

    - memorize: the pair's own embedding `e_(i,j)`, looked up by the pair of values
    - factorize: a function of two latent vectors, `a_i * a_j` (elementwise)
    - naive: nothing, a zero vector

    With `methods=None` (the search) each pair's vector is a mixture, `p_m e_(i,j) + p_f a_i * a_j`,
    where `p = softmax(logits / temperature)` over the methods. The temperature falls linearly with
    the training steps: `max(final_temperature, 1 - temperature_rate * step)`.

    With `methods` (the retrain) nothing is built or computed for a naive pair, `memorized` holds
    the memorized pairs only, and only factorized pairs are multiplied.

    Args:
        pairs: list of index pairs, each rising, or None for all pairs of the latent vectors.
            Defaults to `None`.
        methods: list of str or None. `"memorize"`, `"factorize"` or `"naive"` for each pair.
            Defaults to `None`: the mixture.
        factor_function: str. `"hadamard"` (`a_i * a_j`), `"addition"` (`a_i + a_j`) or
            `"generalized"` (`w_(i,j) * a_i * a_j`, with a vector of weights for each pair).
            Defaults to `"hadamard"`.
        keep_width: bool. Whether naive pairs appear as zero vectors, as in the authors' code.
            Defaults to `False`.
        gumbel_noise: bool. Whether to add Gumbel noise to the logits in training, drawn anew for
            each pair, method and batch. Defaults to `False`.
        temperature_rate: float. Fall of the temperature a training step. Defaults to `5e-05`.
        final_temperature: float. Where it stops falling. Defaults to `0.01`.
        logits_initializer: initializer of the logits. Defaults to `None`: Xavier normal.
        kernel_initializer: initializer of `w`. Defaults to `"ones"`.
        seed: int or None. Of the noise. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of tensors: `memorized`, the pairs' embeddings, for the mixture of all pairs
            and with `methods` of the memorized ones, in the order of `pairs`; and `factors`, the
            fields' latent vectors. With `methods`, one that is not needed may be absent.
        training: bool. Whether the step is counted and noise is on.

    Input shape:
        `memorized` `(batch, memorized pairs, dim)`, `factors` `(batch, fields, dim)`.

    Output shape:
        `(batch, pairs, dim)`. With `methods` first the memorized pairs, then the factorized ones,
        then, with `keep_width`, the naive ones; `pair_order` has them in this order.

    Example:

    >>> import numpy as np
    >>> layer = CombinationBlock([(0, 1), (0, 2), (1, 2)], ["factorize", "naive", "memorize"])
    >>> inputs = {"factors": np.full((1, 3, 2), 2.0), "memorized": np.ones((1, 1, 2))}
    >>> np.array(layer(inputs)).tolist(), layer.pair_order
    ([[[1.0, 1.0], [4.0, 4.0]]], ((1, 2), (0, 1)))

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section II-C and II-D, Equations 14 to 18. The
        published runs draw no noise (Equation 17); Equation 16 does.
    """

    def __init__(
        self,
        pairs: Sequence[Sequence[int]] | None = None,
        methods: Sequence[str] | None = None,
        factor_function: str = "hadamard",
        *,
        keep_width: bool = False,
        gumbel_noise: bool = False,
        temperature_rate: float = 5e-5,
        final_temperature: float = 0.01,
        logits_initializer: Initializer = None,
        kernel_initializer: Initializer = "ones",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("factor_function", factor_function, _FACTOR_FUNCTIONS)
        if final_temperature <= 0:
            raise ValueError(f"final_temperature must be over 0. Received: {final_temperature}")
        self.pairs = None if pairs is None else tuple((int(i), int(j)) for i, j in pairs)
        self.methods = None if methods is None else tuple(methods)
        self.factor_function = factor_function
        self.keep_width = keep_width
        self.gumbel_noise = gumbel_noise
        self.temperature_rate = temperature_rate
        self.final_temperature = final_temperature
        self.logits_initializer = keras.initializers.get(
            logits_initializer
            or keras.initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self._check_pairs()

    def _check_pairs(self) -> None:
        for pair in self.pairs or ():
            if not 0 <= pair[0] < pair[1]:
                raise ValueError(f"a pair is two rising indices of fields. Received: {pair}")
        if self.methods is None:
            return
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise ValueError(f"methods are {', '.join(METHODS)}. Received: {', '.join(unknown)}")
        if self.pairs is None or len(self.pairs) != len(self.methods):
            raise ValueError(
                "methods and pairs must have the same length. "
                f"Received: {len(self.methods)} methods and "
                f"{'no' if self.pairs is None else len(self.pairs)} pairs"
            )

    def build(self, input_shape: dict[str, Shape]) -> None:
        for name, shape in input_shape.items():
            if name not in ("memorized", "factors") or len(shape) != 3 or None in shape[1:]:
                raise ValueError(
                    "inputs are `memorized` and `factors`, each (batch, count, dim). "
                    f"Received: {name!r} of {shape}"
                )
        if len({shape[-1] for shape in input_shape.values()}) != 1:
            raise ValueError(f"all inputs must have the same width. Received: {input_shape}")
        self._memorized, self._factorized = self._chosen_pairs(input_shape)
        self._check_counts(input_shape)
        dim = next(iter(input_shape.values()))[-1]
        if self.factor_function == "generalized" and self._factorized:
            self.kernel = self.add_weight(
                name="kernel",
                shape=(len(self._factorized), dim),
                initializer=self.kernel_initializer,
            )
        if self.methods is None:
            self.logits = self.add_weight(
                name="logits",
                shape=(len(self._memorized), len(METHODS)),
                initializer=self.logits_initializer,
                autocast=False,  # a softmax loses too much in half precision
            )
            self.step = self.add_weight(
                name="step", shape=(), dtype="int32", initializer="zeros", trainable=False
            )
            self.seed_generator = keras.random.SeedGenerator(self.seed)

    def _chosen_pairs(self, input_shape: dict[str, Shape]) -> tuple[Pairs, Pairs]:
        """The pairs to memorize and those to factorize: all for both in the mixture."""
        if self.methods is None:
            fields = input_shape.get("factors", (None, 0))[1] or 0
            every: Pairs = tuple(itertools.combinations(range(fields), 2))
            pairs = every if self.pairs is None else self.pairs
            return pairs, pairs
        return self._with_method("memorize"), self._with_method("factorize")

    def _with_method(self, method: str) -> Pairs:
        chosen = zip(self.pairs or (), self.methods or (), strict=True)
        return tuple(pair for pair, its_method in chosen if its_method == method)

    def _check_counts(self, input_shape: dict[str, Shape]) -> None:
        memorized = input_shape.get("memorized", (None, 0))[1]
        fields = input_shape.get("factors", (None, 0))[1] or 0
        if memorized != len(self._memorized):
            raise ValueError(
                f"`memorized` must hold {len(self._memorized)} pairs. Received: {input_shape}"
            )
        if any(pair[1] >= fields for pair in self._factorized):
            raise ValueError(
                f"the pairs go beyond the fields of `factors`. Received: {input_shape}"
            )

    @property
    def pair_order(self) -> Pairs:
        """The pairs in the order of the output, once the layer is built."""
        if self.methods is None:
            return self._memorized
        naive = self._with_method("naive") if self.keep_width else ()
        return (*self._memorized, *self._factorized, *naive)

    @property
    def temperature(self) -> Tensor:
        """The temperature of the next training step, a float32 scalar."""
        step = ops.cast(self.step, "float32")
        return ops.maximum(1.0 - self.temperature_rate * step, self.final_temperature)

    def probabilities(self, training: bool = False) -> Tensor:
        """Each pair's probabilities of memorize, factorize and naive: (pairs, 3), float32 or wider.

        Args:
            training: bool. Whether to draw noise. Defaults to `False`.
        """
        logits = ops.convert_to_tensor(self.logits)
        if self.gumbel_noise and training:
            uniform = keras.random.uniform(
                logits.shape, 1e-7, 1.0, dtype=logits.dtype, seed=self.seed_generator
            )
            # For uniform u, -log(-log(u)) is Gumbel noise: the largest of logits with such noise
            # is each method with its probability under softmax(logits).
            logits = logits - ops.log(-ops.log(uniform))
        return ops.softmax(logits / ops.cast(self.temperature, logits.dtype), axis=-1)

    def selection(self) -> tuple[str, ...]:
        """The most probable method of each pair: what to retrain with."""
        best = ops.convert_to_numpy(ops.argmax(self.logits, axis=-1))
        return tuple(METHODS[index] for index in best)

    def call(self, inputs: Inputs, training: bool | None = None) -> Tensor:
        if self.methods is None:
            return self._mixture(inputs, bool(training))
        parts = []
        if self._memorized:
            parts.append(inputs["memorized"])
        if self._factorized:
            parts.append(self._products(inputs["factors"]))
        missing = len(self.pair_order) - len(self._memorized) - len(self._factorized)
        some = next(iter(inputs.values()))
        if missing or not parts:
            zero = ops.zeros_like(ops.sum(some, axis=1, keepdims=True))
            parts.append(ops.repeat(zero, missing, axis=1))
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def _mixture(self, inputs: Inputs, training: bool) -> Tensor:
        weights = ops.cast(self.probabilities(training), self.compute_dtype)
        if training:
            self.step.assign_add(1)
        # (pairs, 1) each, against vectors (batch, pairs, dim); what naive weighs is zero.
        memorize, factorize = weights[:, 0, None], weights[:, 1, None]
        return memorize * inputs["memorized"] + factorize * self._products(inputs["factors"])

    def _products(self, factors: Tensor) -> Tensor:
        """`a_i` and `a_j` of each factorized pair, (batch, pairs, dim), combined elementwise."""
        first, second = (
            ops.take(factors, np.array([pair[side] for pair in self._factorized], "int32"), axis=1)
            for side in (0, 1)
        )
        if self.factor_function == "addition":
            return first + second
        product = first * second
        if self.factor_function == "generalized":
            product = product * ops.cast(self.kernel, product.dtype)
        return product

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape:
        batch, _, dim = next(iter(input_shape.values()))
        memorized, factorized = self._chosen_pairs(input_shape)
        if self.methods is None:
            return (batch, len(memorized), dim)
        naive = self._with_method("naive") if self.keep_width else ()
        return (batch, len(memorized) + len(factorized) + len(naive), dim)
