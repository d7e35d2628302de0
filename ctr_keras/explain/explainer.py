"""Scores together with what they are made of, for every row: attention and gated terms."""

from collections.abc import Iterable

import keras
from keras import ops

from ctr_keras.explain.plans import plan_of_model
from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    CalibratedSigmoid,
    GatedInteraction,
    InteractingLayer,
    MultiInteractive,
    TargetAttention,
)
from ctr_keras.models.base import built_features
from ctr_keras.models.calibration import score_layer
from ctr_keras.plan import FUNCTIONS
from ctr_keras.types import Inputs, Tensor

_EMBEDDED_PARTS = ("e_i", "e_c", "e_b", "e_u")  # of MIAN's global module, Equation 14


class Explainer:
    """Scores rows and says what the scores are made of.

    - AutoInt: `attention` `(batch, layers, heads, fields, fields)`; each row of a map sums to 1.
    - MIAN: `attention_behaviors` `(batch, length)`, `attention_user` and `attention_context`
      `(batch, fields)` and `attention_global` `(batch, parts)`, of the modules it has.
    - DIN and DIEN: `attention_behaviors` `(batch, length)`, the weights of the history.
    - Gated interactions: `gated_terms` `(batch, interactions)`, what each adds to the logit.

    The model's own layers are used: nothing is copied, and the model stays as it is.

    Args:
        model: functional keras.Model on the packed inputs.
        features: FeatureSet.

    Attributes:
        axes: dict. Name of an explaining tensor to what its last axis stands for, which is that of
            the last two axes of `attention`. It is empty for a model without attention and gates.
        names: dict. What an axis stands for to the names along it.
        attending: list of str. The layers of `attention`, in its order.

    Call arguments:
        inputs: dict of the packed inputs; there may be more than the model takes.

    Returns:
        A dict of `score` `(batch, 1)` and the explaining tensors, all float32.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, Label
    >>> from ctr_keras.models import AutoInt
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> explainer = Explainer(AutoInt(features, layers=3, heads=2), features)
    >>> explainer.axes, explainer.names
    ({'attention': 'fields'}, {'fields': ('a', 'b')})
    >>> tuple(explainer({"categorical": np.array([[2, 6]])})["attention"].shape)
    (1, 3, 2, 2, 2)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 5.4;
        [MIAN](https://arxiv.org/abs/2012.06968), Section 4.7.3;
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3, Equation 12.
    """

    def __init__(self, model: keras.Model, features: FeatureSet) -> None:
        features = built_features(model, features)
        self.axes: dict[str, str] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self._interacting = [
            x
            for x in model.layers
            if isinstance(x, InteractingLayer) and x.output.shape[1] == len(features.field_names)
        ]
        self.attending = [layer.name for layer in self._interacting]
        self._multi_interactive = [x for x in model.layers if isinstance(x, MultiInteractive)]
        self._target_attention = [x for x in model.layers if isinstance(x, TargetAttention)]
        self._gated = [
            x for x in model.layers if isinstance(x, GatedInteraction) and x.gated and x.terms
        ]
        if self._interacting:
            self._describe("attention", "fields", features.field_names)
        for layer in self._multi_interactive:
            self._describe_modules(layer, features)
        for layer in self._target_attention:
            self._describe_behaviors(layer.input[1].shape[1])
        if self._gated:
            interactions = plan_of_model(model, features).interactions
            gated = [i for i in interactions if i.function in FUNCTIONS]
            names = [f"{i.function}({'*'.join(i.fields)})" for i in gated]
            self._describe("gated_terms", "interactions", names)
        score = score_layer(model)
        self._scale = score.scale if isinstance(score, CalibratedSigmoid) else 1.0
        layers: list[keras.layers.Layer] = [*self._interacting, *self._multi_interactive]
        layers += [*self._target_attention, *self._gated]
        # To the score and to what goes into these layers, masks last, which are then called again.
        of_layers = {layer.name: keras.tree.flatten(layer.input) for layer in layers}
        self._model = keras.Model(model.input, {"score": model.output, "layers": of_layers})

    def _describe(self, output: str, axis: str, names: Iterable[str]) -> None:
        self.axes[output] = axis
        self.names[axis] = tuple(names)

    def _describe_behaviors(self, steps: int) -> None:
        self._describe("attention_behaviors", "behaviors", map(str, range(steps)))

    def _describe_modules(self, layer: MultiInteractive, features: FeatureSet) -> None:
        if layer.behaviors:
            steps = max(feature.max_length for feature in features.sequences)
            self._describe_behaviors(steps)
        for group in ("user", "context"):
            if getattr(layer, group):
                fields = [f.name for f in features.fields if f.group == group]
                self._describe(f"attention_{group}", f"{group}_fields", fields)
        if layer.global_module:
            local = {"R_ibim": layer.behaviors, "R_iuim": layer.user, "R_icim": layer.context}
            parts = [*_EMBEDDED_PARTS, *(name for name, is_there in local.items() if is_there)]
            self._describe("attention_global", "parts", parts)

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        taken = {tensor.name: inputs[tensor.name] for tensor in self._model.inputs}
        computed = self._model(taken, training=False)
        outputs = {"score": computed["score"]}
        of_layers = computed["layers"]
        if self._interacting:
            maps = [
                layer(*of_layers[layer.name], training=False, return_attention_scores=True)[1]
                for layer in self._interacting
            ]
            outputs["attention"] = ops.stack(maps, axis=1)
        for layer in self._multi_interactive:
            _, weights = layer(*of_layers[layer.name], training=False, return_attention_scores=True)
            outputs |= {f"attention_{module}": values for module, values in weights.items()}
        for layer in self._target_attention:
            _, weights = layer(*of_layers[layer.name], training=False, return_attention_scores=True)
            outputs["attention_behaviors"] = weights
        if self._gated:
            terms = [
                layer(*of_layers[layer.name], training=False, return_terms=True)[-1]
                for layer in self._gated
            ]
            outputs["gated_terms"] = self._scale * ops.concatenate(terms, axis=1)
        return {name: ops.cast(value, "float32") for name, value in outputs.items()}
