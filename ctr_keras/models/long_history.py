"""Long histories: what is about the candidate is found before any attention: SIM, ETA, SDIM."""

import keras
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    HashAttention,
    SimHash,
    TargetAttention,
    TopBehaviors,
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
from ctr_keras.settings import Count, did_you_mean
from ctr_keras.types import Inputs, Tensor


@register(
    "the behaviours most like the candidate, or of its category, then attention",
    "Pi et al., CIKM 2020, Section 3",
    family="sequences",
    needs=("sequences",),
)
def SIM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    category: str | None = None,
    count: Count = 10,
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
    """Search-based interest model: `DIN` on those behaviours that a search finds.

    A hard search takes the most recent behaviours of the candidate's category, a soft one those
    whose embeddings have the largest inner products with the candidate's. (The paper searches by
    embeddings that are trained apart, and has times in its attention.)

    Args:
        features, dim, attention_hidden, attention_activation, weighting, hidden: as in `DIN`.
        dropout, normalization, norm_order, embedding_l2, net_l2, kernel_initializer: as in `DIN`.
        embeddings_initializer: as in `DIN`. Defaults to `0.1`.
        category: str or None. The categorical field, with a sequence of its own, that a hard search
            goes by. Defaults to `None`: a soft search.
        count: int. Behaviours to take. Defaults to `10`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `target_attention` weighs the behaviours that were taken.

    Raises:
        ValueError: as for `DIN`, and for a category that is no such field.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Sequence("history", vocabulary_of="item", max_length=100),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5},
    ... )
    >>> SIM(features, count=20).get_layer("top_behaviors").output[0].shape
    (None, 20, 16)

    References:
        [SIM](https://arxiv.org/abs/2006.05639), Section 3.
    """
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("SIM", features, inputs, dim, **table)
    if category is None:
        scores = ops.sum(candidate[:, None] * history, axis=-1)
    else:
        is_same = _is_of_category(features, inputs, category)
        scores, mask = ops.cast(is_same, "float32"), ops.logical_and(mask, is_same)
    found, is_there = TopBehaviors(count, name="top_behaviors")(
        scores, history, behaviors_mask=mask, return_mask=True
    )
    interest = TargetAttention(
        attention_hidden,
        attention_activation,
        weighting,
        name="target_attention",
        **kernels(**weights),
    )(candidate, found, behaviors_mask=is_there)
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("SIM", inputs, [fields, interest], weights, *of_tower)


def _is_of_category(features: FeatureSet, inputs: Inputs, category: str) -> Tensor:
    """Which behaviours have the candidate's value of a field, `(batch, length)`."""
    categorical = [feature.name for feature in features.categorical]
    of_fields = {feature.vocabulary_of: feature.name for feature in features.sequences}
    known = [name for name in categorical if name in of_fields]
    if category not in known:
        raise ValueError(
            "category must be a categorical field with a sequence of its own. Received: "
            f"{category!r}{did_you_mean(category, known)}"
        )
    place = categorical.index(category)
    return ops.equal(inputs[of_fields[category]], inputs["categorical"][:, place : place + 1])


@register(
    "the behaviours whose hashes are most like the candidate's, then attention",
    "Chen et al., 2021, Section 3",
    family="sequences",
    needs=("sequences",),
)
def ETA(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    bits: Count = 32,
    count: Count = 10,
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
    """End-to-end target attention: `DIN` on the behaviours nearest to the candidate by `SimHash`.

    Hashes are of the embeddings as they are in each step, so that the search learns with them.

    Args:
        features, dim, attention_hidden, attention_activation, weighting, hidden: as in `DIN`.
        dropout, normalization, norm_order, embedding_l2, net_l2, kernel_initializer: as in `DIN`.
        embeddings_initializer: as in `DIN`. Defaults to `0.1`.
        bits: int. Of a hash. Defaults to `32`.
        count: int. Behaviours to take. Defaults to `10`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `SIM`.

    Raises:
        ValueError: as for `DIN`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Sequence("history", vocabulary_of="item", max_length=100),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5},
    ... )
    >>> tuple(ETA(features, bits=8).get_layer("sim_hash").directions.shape)
    (16, 8)

    References:
        [ETA](https://arxiv.org/abs/2108.04468), Section 3.
    """
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("ETA", features, inputs, dim, **table)
    sim_hash = SimHash(bits, name="sim_hash")
    equal_less_different = ops.sum(sim_hash(candidate)[:, None] * sim_hash(history), axis=-1)
    found, is_there = TopBehaviors(count, name="top_behaviors")(
        equal_less_different, history, behaviors_mask=mask, return_mask=True
    )
    interest = TargetAttention(
        attention_hidden,
        attention_activation,
        weighting,
        name="target_attention",
        **kernels(**weights),
    )(candidate, found, behaviors_mask=is_there)
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("ETA", inputs, [fields, interest], weights, *of_tower)


@register(
    "the behaviours in the candidate's hash buckets, summed",
    "Cao et al., CIKM 2022, Section 4",
    family="sequences",
    needs=("sequences",),
)
def SDIM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    bits: Count = 48,
    width: Count = 3,
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
) -> keras.Model:
    """Sampling-based deep interest model: behaviours that share a bucket with the candidate.

    Args:
        features, dim, hidden, dropout, normalization, norm_order: as in `DIN`.
        embedding_l2, net_l2, kernel_initializer: as in `DIN`.
        embeddings_initializer: as in `DIN`. Defaults to `0.1`.
        bits: int. Signs of a hash (see `SimHash`). Defaults to `48`.
        width: int. Signs of a bucket, which divide all (see `HashAttention`). Defaults to `3`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Raises:
        ValueError: as for `DIN`, and where `width` does not divide `bits`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("item"),
    ...     Sequence("history", vocabulary_of="item", max_length=100),
    ...     label=Label("y"),
    ...     vocabulary_sizes={"item": 5},
    ... )
    >>> SDIM(features).get_layer("hash_attention").output.shape
    (None, 16)

    References:
        [SDIM](https://arxiv.org/abs/2205.10249), Section 4.
    """
    inputs = feature_inputs(features)
    weights = {"initializer": kernel_initializer, "l2": net_l2}
    table = {"embeddings_initializer": embeddings_initializer, "l2": embedding_l2}
    fields, candidate, history, mask = embed_behaviors("SDIM", features, inputs, dim, **table)
    sim_hash = SimHash(bits, name="sim_hash")
    interest = HashAttention(width, name="hash_attention")(
        sim_hash(candidate), sim_hash(history), history, behaviors_mask=mask
    )
    of_tower = (hidden, dropout, normalization, norm_order)
    return on_tower("SDIM", inputs, [fields, interest], weights, *of_tower)
