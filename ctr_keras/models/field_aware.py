"""Models with a vector of each value for each other field: FFM and ONN."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldAwareInteraction, LinearLogit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    field_inputs,
    joined,
    probability,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "field-aware factorization machine",
    "Juan et al., RecSys 2016, Section 3",
    family="factorization",
    needs=("two fields",),
)
def FFM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 4,
    *,
    linear: bool = True,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Field-aware factorization machine: a vector of a value for every other field.

    Its table has `(fields - 1) * dim` numbers a value, as many times those of `FM`.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of one vector. Defaults to `4`.
        linear: bool. Whether there is a linear logit with its bias. Defaults to `True`.
        dropout, embedding_l2, linear_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Raises:
        ValueError: if there is one field only, or a linear logit that is not there has a penalty.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FFM(features).get_layer("embedding").dim  # for the one other field
    4

    References:
        Juan et al., Field-aware Factorization Machines for CTR Prediction, RecSys 2016, Section 3.
    """
    inputs = field_inputs(features)
    if linear_l2 and not linear:
        raise ValueError("linear_l2 is of the linear logit, which linear=False leaves out")
    width = (len(features.fields) - 1) * dim
    initializer = embeddings_initializer
    fields = embed(features, inputs, width, initializer, dropout=dropout, l2=embedding_l2)
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(inputs)] if linear else []
    logits.append(FieldAwareInteraction(dim, name="interactions")(fields))
    return CTRModel(inputs, probability(summed(logits)), name="FFM")


@register(
    "deep tower on field-aware products",
    "Yang et al., Neural Networks 2020, Section 3",
    family="products",
    needs=("two fields",),
)
def ONN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 4,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Operation-aware network: a tower on embeddings and on the products of `FFM`, one a pair.

    The tower sees vectors of their own, from a table `embedding`, next to those for the products,
    from `embedding_aware`, which has `(fields - 1) * dim` numbers a value.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of one vector. Defaults to `4`.
        hidden, dropout, normalization, norm_order, net_l2: as in `DeepFM`.
        embedding_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `FFM`.

    Raises:
        ValueError: if there is one field only.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> ONN(features).get_layer("deep").input.shape  # twice 4, and one pair
    (None, 9)

    References:
        [ONN](https://arxiv.org/abs/1904.12579), Section 3.
    """
    inputs = field_inputs(features)
    width = (len(features.fields) - 1) * dim
    initializer = embeddings_initializer
    fields = embed(features, inputs, dim, initializer, l2=embedding_l2)
    aware = embed(features, inputs, width, initializer, "embedding_aware", l2=embedding_l2)
    products = FieldAwareInteraction(dim, summed=False, name="interactions")(aware)
    vectors = joined([keras.layers.Flatten()(fields), products], "products")
    logit = deep_logit(vectors, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="ONN")
