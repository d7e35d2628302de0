"""What a user is interested in, as the candidate sees a history: DIN, DIEN and BST."""

import keras
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    AUGRU,
    NextBehaviorLoss,
    TargetAttention,
    TransformerBlock,
    feature_inputs,
)
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.behaviors import embed_behaviors, kernels, on_tower
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "a history summed by what each behaviour is to the candidate",
    "Zhou et al., KDD 2018, Section 4.3",
    family="sequences",
    needs=("sequences",),
)
def DIN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    attention_hidden: Hidden = (80, 40),
    attention_activation: str = "dice",
    weighting: str = "linear",
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
) -> keras.Model:
    """Deep interest network: a tower on all fields and on the history as the candidate sees it.

    The candidate is the fields that sequences name by `vocabulary_of`, side by side; behaviours
    are the sequences, in the same order, from the same table. `TargetAttention` sums them.

    Args:
        features: FeatureSet with a sequence or more, of fields.
        dim: int. Width of an embedding. Defaults to `16`.
        attention_hidden: list of int. Widths of the attention's network. Defaults to `(80, 40)`.
        attention_activation: str. Of its layers: `"dice"` or one of Keras. Defaults to `"dice"`.
        weighting: str. `"linear"`, `"sigmoid"` or `"softmax"` (see `TargetAttention`). Defaults to
            `"linear"`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400, 400)`.
        dropout: float. Share of units to drop in the tower. Defaults to `0.0`.
        normalization: str or None. Of the tower: `"batch"`, `"layer"` or none. Defaults to `None`.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"before"`.
        embedding_l2: float. As in `FM`. Defaults to `0.0`.
        net_l2: float. L2 penalty of all kernels. Defaults to `0.0`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        embeddings_initializer: initializer of the table, or a number, the standard deviation of a
            normal distribution. Defaults to `0.1`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `target_attention` weighs the behaviours.

    Raises:
        ValueError: without a sequence, or for one that is of no field or of another length.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Categorical("user"),
    ...     Sequence("history", vocabulary_of="item"),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5, "user": 5},
    ... )
    >>> DIN(features).get_layer("deep").input.shape  # two fields and the history
    (None, 48)

    References:
        [DIN](https://arxiv.org/abs/1706.06978), Section 4.3.
    """
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("DIN", features, inputs, dim, **table)
    attention = TargetAttention(
        attention_hidden,
        attention_activation,
        weighting,
        name="target_attention",
        **kernels(**weights),
    )
    vectors = [fields, attention(candidate, history, behaviors_mask=mask)]
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("DIN", inputs, vectors, weights, *of_tower)


@register(
    "interests and how they change, by recurrent networks over a history",
    "Zhou et al., AAAI 2019, Section 4",
    family="sequences",
    needs=("sequences",),
)
def DIEN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    attention_hidden: Hidden = (80, 40),
    attention_activation: str = "dice",
    weighting: str = "softmax",
    auxiliary_weight: Penalty = 1.0,
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
) -> keras.Model:
    """Deep interest evolution network: how the interest in the candidate has changed.

    A GRU turns behaviours into interests, taught by the behaviour that follows each
    (`NextBehaviorLoss`). The candidate weighs them, and an `AUGRU` goes through them once more, its
    updates scaled by these weights. Its last state and all fields go into the tower.

    Args:
        features, dim, attention_hidden, attention_activation, hidden, dropout: as in `DIN`.
        normalization, norm_order, embedding_l2, net_l2, kernel_initializer: as in `DIN`.
        embeddings_initializer: as in `DIN`. Defaults to `0.1`.
        weighting: str. `"softmax"`, or `"sigmoid"`, whose weights open the gates as wide in a long
            history as in a short one. Defaults to `"softmax"`.
        auxiliary_weight: float. Factor of the auxiliary loss. Defaults to `1.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `target_attention` weighs the behaviours.

    Raises:
        ValueError: as for `DIN`, and for weights that may leave [0, 1].

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Sequence("history", vocabulary_of="item"),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5},
    ... )
    >>> DIEN(features).get_layer("interest_evolution").output.shape
    (None, 16)

    References:
        [DIEN](https://arxiv.org/abs/1809.03672), Section 4.
    """
    if weighting == "linear":
        raise ValueError("DIEN scales gates by its weights: weighting must be softmax or sigmoid")
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("DIEN", features, inputs, dim, **table)
    width = history.shape[-1]
    interests = keras.layers.GRU(
        width,
        return_sequences=True,
        use_cudnn=False,  # which XLA does not compile
        recurrent_regularizer=kernels(**weights)["kernel_regularizer"],
        name="interest_gru",
        **kernels(**weights),
    )(history, mask=mask)
    interests = NextBehaviorLoss(auxiliary_weight, name="next_behavior_loss")(
        interests, history, behaviors_mask=mask
    )
    _, scores = TargetAttention(
        attention_hidden,
        attention_activation,
        weighting,
        name="target_attention",
        **kernels(**weights),
    )(candidate, interests, behaviors_mask=mask, return_attention_scores=True)
    evolved = AUGRU(width, name="interest_evolution", **kernels(**weights))(
        interests, scores, inputs_mask=mask
    )
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("DIEN", inputs, [fields, evolved], weights, *of_tower)


@register(
    "a Transformer over a history and the candidate, in order",
    "Chen et al., DLP-KDD 2019, Section 2",
    family="sequences",
    needs=("sequences",),
)
def BST(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    blocks: Count = 1,
    heads: Count = 4,
    feed_forward: int | None = None,
    transformer: str = "post",
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
) -> keras.Model:
    """Behavior sequence transformer: a history and the candidate behind it attend each other.

    The candidate is the last place of the sequence, and each place has a learned vector. What the
    Transformer makes of all places goes into the tower, side by side, next to all fields.

    Args:
        features, dim, hidden, normalization, norm_order, embedding_l2, net_l2: as in `DIN`.
        kernel_initializer: as in `DIN`. Defaults to `"glorot_uniform"`.
        embeddings_initializer: as in `DIN`. Defaults to `0.1`.
        blocks: int. Transformer blocks, one after the other. Defaults to `1`.
        heads: int. Of each; it must divide the width of a behaviour. Defaults to `4`.
        feed_forward: int or None. Width of their feed-forward networks. Defaults to `None`: four
            times a behaviour's.
        transformer: str. `"post"` or `"pre"` for the place of their normalization. Defaults to
            `"post"`.
        dropout: float. In Transformer and tower. Defaults to `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Raises:
        ValueError: as for `DIN`, and if the heads do not divide the width.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Sequence("history", vocabulary_of="item", max_length=10),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5},
    ... )
    >>> BST(features).get_layer("transformer_0").output.shape  # the candidate is the eleventh
    (None, 11, 16)

    References:
        [BST](https://arxiv.org/abs/1905.06874), Section 2, with positions in place of times.
    """
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("BST", features, inputs, dim, **table)
    places = ops.concatenate([history, candidate[:, None]], axis=1)
    mask = ops.concatenate([mask, ops.ones_like(mask[:, :1])], axis=1)  # the candidate is there
    for index in range(blocks):
        places = TransformerBlock(
            heads,
            feed_forward,
            normalization=transformer,
            dropout=dropout,
            positions=index == 0,
            name=f"transformer_{index}",
            **kernels(**weights),
        )(places, mask=mask)
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("BST", inputs, [fields, places], weights, *of_tower)
