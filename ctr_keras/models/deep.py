"""Deep towers next to a wide part (Wide & Deep) and with residuals (DeepCrossing)."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import LinearLogit, ResidualUnit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import read_methods
from ctr_keras.models.parts import (
    deep_logit,
    dense_logit,
    embed,
    field_inputs,
    kernel_penalty,
    probability,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.plan import InteractionPlan
from ctr_keras.settings import Count


@register(
    "logistic regression next to a deep tower",
    "Cheng et al., DLRS 2016, Section 3",
    crossed="those that a plan memorizes have weights in the wide part, without a plan all",
    family="deep",
)
def WideDeep(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Wide & Deep: a weight for each value and each crossed one, and a tower on embeddings.

    Args:
        features: FeatureSet; its `Crossed` features are in the wide part alone.
        dim: int. Width of an embedding. Defaults to `16`.
        interactions: InteractionPlan of methods, path to one, or None. The crossed features of the
            pairs that it memorizes are in the wide part. Defaults to `None`: all are.
        hidden, dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, linear_l2: as in `FM`.
        check_ids: bool. As in `FM`. Defaults to `False`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `linear` and `deep_logit` add up to `logit`.

    Raises:
        ValueError: if a pair to memorize has no `Crossed` feature, naming it.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> WideDeep(features).get_layer("linear").count_params()  # 9 ids, and 10 of pairs
    19

    References:
        [Wide & Deep](https://arxiv.org/abs/1606.07792), Section 3, with one optimizer for both.
    """
    wide = _memorized(features, interactions)
    plain = features.without_crossed().field_names
    inputs = field_inputs(features)
    if not wide:
        inputs.pop("crossed", None)
    initializer = embeddings_initializer
    fields = embed(features, inputs, dim, initializer, fields=plain, l2=embedding_l2)
    linear = LinearLogit(
        features, use_bias=False, fields=[*plain, *wide], l2=linear_l2, name="linear"
    )
    logits = [
        linear(inputs),
        deep_logit(fields, hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="WideDeep")


@register("deep tower with residuals", "Shan et al., KDD 2016, Section 4", family="deep")
def DeepCrossing(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """DeepCrossing: a tower on embeddings, each of whose layers adds what went into it.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        hidden: list of int. Widths of the residual units. Defaults to `(200, 80)`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `residual_0`, ... are the tower.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = DeepCrossing(features, dim=4, hidden=[4, 3], normalization=None)
    >>> [model.get_layer(f"residual_{index}").count_params() for index in range(2)]
    [20, 27]

    References:
        Shan et al., Deep Crossing: Web-Scale Modeling without Manually Crafted Combinatorial
        Features, KDD 2016, Section 4; the units are those of AutoInt's baseline (see
        `ResidualUnit`).
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"dropout": dropout, "normalization": normalization, "order": norm_order, **penalty}
    deep = keras.layers.Flatten()(fields)
    for index, units in enumerate(hidden):
        deep = ResidualUnit(units, **kind, name=f"residual_{index}")(deep)
    return CTRModel(inputs, probability(dense_logit(deep, **penalty)), name="DeepCrossing")


def _memorized(features: FeatureSet, interactions: InteractionPlan | str | None) -> list[str]:
    """The crossed features of the pairs that a plan memorizes, or all of them."""
    crossed = {frozenset((f.first, f.second)): f.name for f in features.crossed}
    if interactions is None:
        return [*crossed.values()]
    plan = read_methods(interactions)
    wanted = [i.fields for i in plan.interactions if i.function == "memorize"]
    for pair in wanted:
        if frozenset(pair) not in crossed:
            raise ValueError(f"to memorize {pair[0]!r} and {pair[1]!r} declare Crossed{pair}")
    return [crossed[frozenset(pair)] for pair in wanted]
