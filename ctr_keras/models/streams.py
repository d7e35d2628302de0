"""Two towers that meet in one logit: FinalMLP and FinalNet."""

from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    MLP,
    BilinearFusion,
    FactorizedInteraction,
    FeatureGate,
    MutualDistillation,
)
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    dense_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count, SettingError
from ctr_keras.types import Inputs, Tensor


@register(
    "two towers and a bilinear logit of both", "Mao et al., AAAI 2023, Section 3", family="deep"
)
def FinalMLP(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    first_hidden: Hidden = (200, 80),
    second_hidden: Hidden = (200, 80),
    heads: Count = 1,
    first_context: str | None = None,
    second_context: str | None = None,
    gate_units: Count = 64,
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """FinalMLP: two towers `x` and `y` on all embeddings, `logit = <w, [x, y]> + b + x^T W y`.

    The input of each tower may be gated by the embeddings of a group of fields, as they are in a
    table of their own, so that the towers see different things.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        first_hidden: list of int. Widths of the first tower's layers. Defaults to `(200, 80)`.
        second_hidden: list of int. Those of the second tower's. Defaults to `(200, 80)`.
        heads: int. Of the bilinear logit, which divide the widths of both towers (see
            `BilinearFusion`). Defaults to `1`.
        first_context: str or None. The group of fields that gates the first tower's input, such as
            `"user"`. Defaults to `None`: there is no gate.
        second_context: str or None. That of the second tower's. Defaults to `None`.
        gate_units: int. Width of the layer inside a gate (see `FeatureGate`). Defaults to `64`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `linear_logit` and `bilinear_logit` add up to `logit`.

    Raises:
        ValueError: if the heads do not divide the widths, or no field is in a group.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = FinalMLP(features, first_hidden=[8], second_hidden=[6], heads=2)
    >>> model.get_layer("bilinear_logit").count_params()  # twice 4 times 3
    24

    References:
        [FinalMLP](https://arxiv.org/abs/2304.00902), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    vectors = keras.layers.Flatten()(fields)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"dropout": dropout, "normalization": normalization, "order": norm_order, **penalty}
    towers = []
    for index, (units, context) in enumerate(
        [(first_hidden, first_context), (second_hidden, second_context)]
    ):
        taken = vectors
        if context is not None:
            table = {"initializer": embeddings_initializer, "l2": embedding_l2}
            of_group = _embedded_group(features, inputs, dim, context, index, table)
            taken = FeatureGate(gate_units, name=f"gate_{index}", **penalty)(vectors, of_group)
        towers.append(MLP(units, **kind, name=f"deep_{index}")(taken))
    fusion = BilinearFusion(heads, name="bilinear_logit", **penalty)
    logits = [dense_logit(joined(towers), "linear_logit", **penalty), fusion(*towers)]
    return CTRModel(inputs, probability(summed(logits)), name="FinalMLP")


def _embedded_group(
    features: FeatureSet, inputs: Inputs, dim: int, group: str, index: int, table: dict[str, Any]
) -> Tensor:
    """The embeddings of a group of fields, side by side, from a table for a context."""
    names = [field.name for field in features.fields if field.group == group]
    if not names:
        known = sorted({field.group for field in features.fields if field.group})
        raise SettingError(
            f"no field is in the group {group!r}; there are: {', '.join(known) or 'none'}",
            ("first_context", "second_context")[index],
        )
    fields = embed(features, inputs, dim, name=f"embedding_context_{index}", fields=names, **table)
    return keras.layers.Flatten()(fields)


@register("two towers of factorized layers", "Zhu et al., SIGIR 2023, Section 3", family="deep")
def FinalNet(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    first_hidden: Hidden = (200, 80),
    second_hidden: Hidden | None = (200, 80),
    activation: str = "relu",
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """FinalNet: towers of layers half of which are products, so that the order grows with them.

    The logit is the mean of both towers', and in training each tower learns from the score, too.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        first_hidden: list of int. Widths of the first tower's layers, even. Defaults to
            `(200, 80)`.
        second_hidden: list of int or None. Those of the second tower's; `None` for one tower alone.
            Defaults to `(200, 80)`.
        activation: str. Of the layers, `"linear"` for polynomials. Defaults to `"relu"`.
        dropout, net_l2, embeddings_initializer: as in `DeepFM`.
        normalization: str or None. Of the layers (see `FactorizedInteraction`). Defaults to
            `"batch"`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `final_0_0`, `final_0_1`, ... are the first tower.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = FinalNet(features, dim=4, first_hidden=[8], second_hidden=None)
    >>> model.get_layer("final_0_0").dense.count_params()
    40

    References:
        Zhu et al., FINAL: Factorized Interaction Layer for CTR Prediction, SIGIR 2023, Section 3,
        without gates of fields.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    vectors = keras.layers.Flatten()(fields)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind: dict[str, Any] = {
        "activation": activation,
        "normalization": normalization,
        "dropout": dropout,
    }
    logits = []
    for tower, hidden in enumerate((first_hidden, second_hidden)):
        deep = vectors
        for index, units in enumerate(hidden or ()):
            name = f"final_{tower}_{index}"
            deep = FactorizedInteraction(units, **kind, **penalty, name=name)(deep)
        if hidden:
            is_alone = second_hidden is None  # the bias of two is that of their mean
            name = f"tower_logit_{tower}"
            logits.append(dense_logit(deep, name, use_bias=is_alone, **penalty))
    if len(logits) == 2:
        logits = [MutualDistillation(dtype="float32", name="mean_logit")(logits)]
    return CTRModel(inputs, probability(summed(logits)), name="FinalNet")
