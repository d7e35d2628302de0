"""MIAN: the candidate item in interaction with behaviours, user and context."""

from collections.abc import Sequence

import keras
from keras import ops

from ctr_keras.features import Crossed, FeatureSet
from ctr_keras.features import Sequence as SequenceFeature
from ctr_keras.layers import (
    FieldEmbedding,
    GlobalInteraction,
    ItemBehaviorInteraction,
    ItemFieldInteraction,
    MultiInteractive,
    feature_inputs,
)
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.behaviors import check_lengths
from ctr_keras.models.parts import dense_logit, kernel_penalty, own_or, probability, tower
from ctr_keras.models.registry import register
from ctr_keras.settings import Count
from ctr_keras.types import Inputs, Settings, Tensor

MODULES = ("behaviors", "user", "context", "global")
_OUTPUTS = ("sigmoid", "softmax2")


@register(
    "item with behaviours, user and context, then all with all",
    "Zhang et al., WSDM 2021, Section 3",
    crossed="left out",
    family="sequences",
    needs=("groups", "sequences"),
)
def MIAN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    modules: Sequence[str] = MODULES,
    transformer: str = "pre",
    heads: Count = 8,
    feed_forward: int | None = None,
    positions: bool = False,
    final_normalization: bool = False,
    weights_per_step: bool = False,
    shared_scores: bool = False,
    temperature: float = 1.0,
    align: str = "linear",
    pooling: str = "mean",
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    l2: Penalty = 0.0,
    net_l2: Penalty | None = None,
    embedding_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
    output: str = "sigmoid",
) -> keras.Model:
    """MIAN: three local modules, a global one, and a tower on what they make.

    The item is all fields of group `item` side by side, `D = dim * item fields` wide; behaviours
    are the sequences side by side, from the item's table where they share its vocabulary. Fields of
    the groups `user` and `context` are embedded `D` wide. Crossed features are not used.

    A score of its attention is the tanh of a linear function of item and other part side by side,
    in which the two only add: whatever the item, the same behaviour of a history has the most
    weight. Attention finds what counts in general, as popularity does; a match between item and
    history is left to the tower, which sees the history pooled. Test AUC on two logs with a planted
    match, of the same id (truth .796) and of hidden vectors (.887): logistic regression .585 and
    .660, a tower on the mean of the history .609 and .826, MIAN .609 and .841, and with the paper's
    settings, `preset=books`, .587 and .663 (`python -m benchmarks.matches`). `DIN` learns it.

    The paper's ablations are `modules` without one name or two, `transformer="post"`, and
    `transformer="none"`.

    Args:
        features: FeatureSet with all four groups, and each field in one.
        dim: int. Width of an item field's embedding. Defaults to `16`.
        modules: list of str. Those of `"behaviors"` (IBIM), `"user"` (IUIM), `"context"` (ICIM) and
            `"global"` (GIM) to keep. Defaults to `("behaviors", "user", "context", "global")`.
        transformer: str. `"pre"`, `"post"` or `"none"` (see `ItemBehaviorInteraction`).
            Defaults to `"pre"`.
        heads: int. Of the Transformer; it must divide the width of a behaviour. Defaults to `8`.
        feed_forward: int or None. Width of its feed-forward network. Defaults to `None`: four times
            a behaviour's.
        positions, final_normalization, weights_per_step: as in `ItemBehaviorInteraction`.
        shared_scores: bool. Whether all user fields, and all context fields, share score weights.
            Defaults to `False`.
        temperature: float. Of all four attentions. Defaults to `1.0`.
        align: str. How parts get to one width in the global module (see `GlobalInteraction`).
            Defaults to `"linear"`.
        pooling: str. `"mean"` or `"sum"` of the behaviours as a part. Defaults to `"mean"`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400, 400)`.
        dropout: float. In Transformer and tower. Defaults to `0.0`.
        l2: float. L2 penalty of all kernels, not of embeddings. Defaults to `0.0`.
        net_l2: float or None. The same, by the name that other models have for it. Defaults to
            `None`: `l2`.
        embedding_l2: float. As in `FM`. Defaults to `0.0`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        embeddings_initializer: initializer of the tables, or a number, the standard deviation of a
            normal distribution. Defaults to `0.1`.
        output: str. `"sigmoid"` of one logit, or `"softmax2"` of two, as the paper prints it; the
            score is then the second's probability. Defaults to `"sigmoid"`.
        check_ids: bool. As in `FM`. Defaults to `False`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `multi_interactive` holds the modules.

    Raises:
        ValueError: if a group is missing, a field has none, or a module is unknown.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item", group="item"),
    ...     Categorical("user", group="user"),
    ...     Categorical("hour", group="context"),
    ...     Sequence("history", vocabulary_of="item"),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5, "user": 5, "hour": 24},
    ... )
    >>> MIAN(features).get_layer("multi_interactive").output.shape
    (None, 32)

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3.
    """
    _check(modules, MODULES, "modules")
    _check([output], _OUTPUTS, "output")
    groups = _groups(features)
    inputs = feature_inputs(features)
    inputs.pop("crossed", None)

    def weights() -> Settings:
        return {
            "kernel_initializer": keras.initializers.get(kernel_initializer).clone(),
            "kernel_regularizer": kernel_penalty(own_or(net_l2, l2)),
        }

    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    item, behaviors, mask = _item_and_behaviors(features, inputs, dim, groups, table)
    width = item.shape[-1]
    user, context = (
        FieldEmbedding(features, width, fields=groups[group], name=f"{group}_embedding", **table)(
            inputs
        )
        for group in ("user", "context")
    )
    behavior_module = ItemBehaviorInteraction(
        transformer,
        heads,
        feed_forward,
        dropout=dropout,
        positions=positions,
        final_normalization=final_normalization,
        weights_per_step=weights_per_step,
        temperature=temperature,
        name="behaviors",
        **weights(),
    )
    user_module, context_module = (
        ItemFieldInteraction(shared_scores, temperature=temperature, name=name, **weights())
        for name in ("user", "context")
    )
    global_module = GlobalInteraction(
        2 * width, align=align, temperature=temperature, name="global_module", **weights()
    )
    interacted = MultiInteractive(
        "behaviors" in modules and behavior_module,
        "user" in modules and user_module,
        "context" in modules and context_module,
        "global" in modules and global_module,
        pooling=pooling,
        name="multi_interactive",
    )(item, behaviors, user, context, behaviors_mask=mask)
    deep = tower(interacted, hidden, dropout, **weights())
    logit = dense_logit(deep, units=1 if output == "sigmoid" else 2, **weights())
    if output == "softmax2":  # a softmax of two is the sigmoid of their difference
        logit = logit[:, 1:] - logit[:, :1]
    return CTRModel(inputs, probability(logit), name="MIAN")


def _check(given: Sequence[str], known: Sequence[str], argument: str) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{argument} must be of {', '.join(known)}. Received: {name!r}")


def _groups(features: FeatureSet) -> dict[str, list[str]]:
    """Names of the features of each group, sequences in `behaviors` alone."""
    ungrouped = [
        f.name for f in features.features if not isinstance(f, Crossed) and f.group is None
    ]
    if ungrouped:
        raise ValueError(f"MIAN needs a group for every field; without one: {', '.join(ungrouped)}")
    groups = {}
    for name in ("item", "user", "context", "behaviors"):
        groups[name] = [feature.name for feature in features.group(name)]
        for feature in features.group(name):
            if isinstance(feature, SequenceFeature) != (name == "behaviors"):
                raise ValueError(
                    f"the group behaviors is for sequences, and for all of them; {feature.name!r} "
                    f"is in {name}"
                )
    return groups


def _item_and_behaviors(
    features: FeatureSet, inputs: Inputs, dim: int, groups: dict[str, list[str]], table: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """The item (batch, D), the behaviours (batch, length, dim * sequences), and their mask."""
    sequences = groups["behaviors"]
    check_lengths(features, sequences)
    fields, *histories = FieldEmbedding(
        features,
        dim,
        fields=groups["item"],
        sequences=sequences,
        name="item_embedding",
        **table,
    )(inputs)
    behaviors = histories[0]
    if len(histories) > 1:
        behaviors = keras.layers.Concatenate(name="behaviors")(histories)
    mask = ops.not_equal(inputs[sequences[0]], 0)
    return keras.layers.Flatten(name="item")(fields), behaviors, mask
