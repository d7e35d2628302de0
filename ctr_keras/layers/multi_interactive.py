"""MIAN's multi-interactive layer: its local modules and the global one, put together."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_choice
from ctr_keras.layers.global_interaction import GlobalInteraction
from ctr_keras.layers.item_interaction import ItemBehaviorInteraction, ItemFieldInteraction
from ctr_keras.types import Shape, Tensor

_POOLINGS = ("mean", "sum")


@keras.saving.register_keras_serializable(package="ctr_keras")
class MultiInteractive(PoolingLayer):
    """The candidate item interacts with behaviours, user and context, then all with all.

    The parts `e_i, e_c, e_b, e_u, R_ibim, R_iuim, R_icim` (item, context fields side by side,
    pooled behaviours, user fields side by side, and what the three local modules make of them) go
    through the global module. A local module that is left out takes its `R` with it, nothing else;
    without the global module the output is all parts side by side.

    Args:
        behaviors: ItemBehaviorInteraction, True for the default one, or False to leave it out.
            Defaults to `True`.
        user: ItemFieldInteraction, True or False, in the same way. Defaults to `True`.
        context: ItemFieldInteraction, True or False. Defaults to `True`.
        global_module: GlobalInteraction, True or False; the default one is twice as wide as the
            item. Defaults to `True`.
        pooling: str. `"mean"` or `"sum"` of the behaviours for `e_b`. Defaults to `"mean"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        item: tensor of the item's embedding.
        behaviors: tensor of the behaviours' embeddings.
        user: tensor of the user fields' embeddings.
        context: tensor of the context fields' embeddings.
        behaviors_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.
        training: bool. Whether dropout is on.
        return_attention_scores: bool. Whether to return the modules' weights as well.

    Input shape:
        `(batch, item_dim)`, `(batch, length, behavior_dim)`, `(batch, user_fields, user_dim)` and
        `(batch, context_fields, context_dim)`.

    Output shape:
        `(batch, width of the global module)`, or the sum of all parts' widths without it.

    Returns:
        The output, or with `return_attention_scores=True` the output and a dict of the weights of
        those modules that are there: `behaviors` `(batch, length)`, `user` `(batch, user_fields)`,
        `context` `(batch, context_fields)` and `global` `(batch, parts)`.

    Example:

    >>> import numpy as np
    >>> item, fields = np.ones((2, 8), "float32"), np.ones((2, 3, 8), "float32")
    >>> layer = MultiInteractive(context=False)
    >>> output, weights = layer(item, fields, fields, fields, return_attention_scores=True)
    >>> tuple(output.shape), {name: tuple(w.shape) for name, w in weights.items()}
    ((2, 16), {'behaviors': (2, 3), 'user': (2, 3), 'global': (2, 6)})

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 3 to 15, and Table 3 for
        what happens without a module.
    """

    def __init__(
        self,
        behaviors: ItemBehaviorInteraction | bool = True,
        user: ItemFieldInteraction | bool = True,
        context: ItemFieldInteraction | bool = True,
        global_module: GlobalInteraction | bool = True,
        *,
        pooling: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("pooling", pooling, _POOLINGS)
        self.behaviors = _module(behaviors, ItemBehaviorInteraction, "behaviors")
        self.user = _module(user, ItemFieldInteraction, "user")
        self.context = _module(context, ItemFieldInteraction, "context")
        self.global_module = _module(global_module, GlobalInteraction, "global_module")
        self.pooling = pooling
        self.supports_masking = True

    def build(
        self, item_shape: Shape, behaviors_shape: Shape, user_shape: Shape, context_shape: Shape
    ) -> None:
        shapes = (behaviors_shape, user_shape, context_shape)
        if len(item_shape) != 2 or item_shape[-1] is None:
            raise ValueError(f"the item must be (batch, dim). Received: {item_shape}")
        for name, shape in zip(("behaviors", "user", "context"), shapes, strict=True):
            if len(shape) != 3 or shape[-1] is None:
                raise ValueError(f"{name} must be (batch, count, dim). Received: {shape}")
        if user_shape[1] is None or context_shape[1] is None:
            raise ValueError(
                "the numbers of user and context fields must be known. "
                f"Received: {user_shape} and {context_shape}"
            )
        kinds = (ItemBehaviorInteraction, ItemFieldInteraction, ItemFieldInteraction)
        names = ("behaviors", "user", "context")
        for name, kind, shape in zip(names, kinds, shapes, strict=True):
            if getattr(self, name) is True:
                setattr(self, name, kind(dtype=self.dtype_policy, name=name))
            module = getattr(self, name)
            if module and not module.built:  # one out of a saved model comes built
                module.build(item_shape, shape)
        if self.global_module is True:
            self.global_module = GlobalInteraction(
                2 * item_shape[-1], dtype=self.dtype_policy, name="global_module"
            )
        if self.global_module and not self.global_module.built:
            self.global_module.build(self._part_shapes(item_shape, *shapes))

    def _part_shapes(
        self, item: Shape, behaviors: Shape, user: Shape, context: Shape
    ) -> list[Shape]:
        """Of the parts in the order of Equation 14."""
        widths = [
            item[-1],
            context[1] * context[2],
            behaviors[-1],
            user[1] * user[2],
        ]
        for name, shape in (("behaviors", behaviors), ("user", user), ("context", context)):
            if getattr(self, name):
                widths.append(item[-1] + shape[-1])
        return [(item[0], width) for width in widths]

    def call(
        self,
        item: Tensor,
        behaviors: Tensor,
        user: Tensor,
        context: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        parts = [item, _side_by_side(context), self._pooled(behaviors, behaviors_mask)]
        parts.append(_side_by_side(user))
        weights = {}
        if self.behaviors:
            part, weights["behaviors"] = self.behaviors(
                item,
                behaviors,
                behaviors_mask=behaviors_mask,
                training=training,
                return_attention_scores=True,
            )
            parts.append(part)
        for name, fields in (("user", user), ("context", context)):
            if getattr(self, name):
                module = getattr(self, name)
                part, weights[name] = module(item, fields, return_attention_scores=True)
                parts.append(part)
        if self.global_module:
            output, weights["global"] = self.global_module(parts, return_attention_scores=True)
        else:
            output = ops.concatenate(parts, axis=-1)
        # A module that is given may have a dtype of its own.
        output = ops.cast(output, self.compute_dtype)
        weights = {name: ops.cast(w, self.compute_dtype) for name, w in weights.items()}
        return (output, weights) if return_attention_scores else output

    def _pooled(self, behaviors: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return getattr(ops, self.pooling)(behaviors, axis=1)
        kept = ops.cast(mask, behaviors.dtype)[:, :, None]
        total = ops.sum(behaviors * kept, axis=1)
        if self.pooling == "sum":
            return total
        return total / ops.maximum(ops.sum(kept, axis=1), 1)

    def compute_output_shape(
        self, item_shape: Shape, behaviors_shape: Shape, user_shape: Shape, context_shape: Shape
    ) -> Shape:
        if self.global_module is True:
            return (item_shape[0], 2 * item_shape[-1])
        if self.global_module:
            return (item_shape[0], self.global_module.width)
        shapes = self._part_shapes(item_shape, behaviors_shape, user_shape, context_shape)
        return (item_shape[0], sum(shape[-1] for shape in shapes))

    def compute_output_spec(
        self,
        item: Tensor,
        behaviors: Tensor,
        user: Tensor,
        context: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del behaviors_mask, training
        shapes = (item.shape, behaviors.shape, user.shape, context.shape)

        def spec(shape: Shape) -> keras.KerasTensor:
            return keras.KerasTensor(shape, self.compute_dtype)

        output = spec(self.compute_output_shape(*shapes))
        tensors = {"behaviors": behaviors, "user": user, "context": context}
        weights = {n: spec(tensor.shape[:2]) for n, tensor in tensors.items() if getattr(self, n)}
        if self.global_module:
            weights["global"] = spec((item.shape[0], len(self._part_shapes(*shapes))))
        return (output, weights) if return_attention_scores else output


def _module(given: Any, kind: type[Any], name: str) -> Any:
    """A module as given or out of a config; True and False stay what they are."""
    module = keras.saving.deserialize_keras_object(given) if isinstance(given, dict) else given
    if not isinstance(module, bool | kind):
        raise ValueError(f"{name} must be a {kind.__name__}, True or False. Received: {given!r}")
    return module


def _side_by_side(fields: Tensor) -> Tensor:
    return ops.reshape(fields, (-1, fields.shape[1] * fields.shape[2]))
