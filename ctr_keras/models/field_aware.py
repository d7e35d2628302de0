"""The field-aware factorization machine."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldAwareInteraction, LinearLogit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import embed, field_inputs, probability, summed
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register("field-aware factorization machine", "Juan et al., RecSys 2016, Section 3")
def FFM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 4,
    *,
    linear: bool = True,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = None,
) -> keras.Model:
    """Field-aware factorization machine: a vector of a value for every other field.

    Its table has `(fields - 1) * dim` numbers a value, as many times those of `FM`.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of one vector. Defaults to `4`.
        linear: bool. Whether there is a linear logit with its bias. Defaults to `True`.
        dropout, embedding_l2, linear_l2, embeddings_initializer, check_ids, crossed: as in `FM`.

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
    if len(features.fields) < 2:
        raise ValueError("FFM needs at least two fields, and the feature set has one")
    width = (len(features.fields) - 1) * dim
    initializer = embeddings_initializer
    fields = embed(features, inputs, width, initializer, dropout=dropout, l2=embedding_l2)
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(inputs)] if linear else []
    logits.append(FieldAwareInteraction(dim, name="interactions")(fields))
    return CTRModel(inputs, probability(summed(logits)), name="FFM")
