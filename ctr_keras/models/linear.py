"""Logistic regression, which every other model has to beat, and Poly2, which weighs pairs."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import LinearLogit
from ctr_keras.models.arguments import EmbeddingsInitializer, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import field_inputs, probability, summed
from ctr_keras.models.registry import build_model, register


@register("logistic regression", "Richardson et al., WWW 2007, Section 4.1", family="linear")
def LR(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    *,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = "zeros",
) -> keras.Model:
    """Logistic regression on all fields: a weight for each value, and a bias.

    A number weighs in with its packed value, a multi-valued field with the mean of its values'
    weights, which is weighted where the data weigh values. Weights start from 0, so that a value
    that was never seen says nothing.

    Args:
        features: FeatureSet.
        linear_l2: float. L2 penalty of the weights of the values that a batch reads, and of those
            of numbers: `linear_l2 * sum of w^2` (see `FieldEmbedding`). Defaults to `0.0`.
        embeddings_initializer: initializer of the weights, or a number, the standard deviation of a
            normal distribution. Defaults to `"zeros"`.
        check_ids: bool. Whether an id that is not of its field gives NaN (see `FieldEmbedding`).
            Defaults to `False`.
        crossed: bool. Whether the values of crossed features have weights, too: without it, they
            are left out. Defaults to `False`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> LR(features).count_params()  # id 0, an OOV id, three values and the bias
    6

    References:
        Richardson, Dominowska and Ragno, Predicting Clicks: Estimating the Click-Through Rate for
        New Ads, WWW 2007, Section 4.1.
    """
    inputs = field_inputs(features)
    linear = LinearLogit(features, initializer=embeddings_initializer, l2=linear_l2, name="linear")
    return CTRModel(inputs, probability(summed([linear(inputs)])), name="LR")


@register(
    "logistic regression on values and on pairs of them",
    "Chang et al., JMLR 2010; Juan et al., RecSys 2016, Section 2",
    crossed="each has a weight for every pair of values",
    family="linear",
    needs=("crossed features",),
)
def Poly2(  # noqa: N802
    features: FeatureSet,
    *,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = "zeros",
) -> keras.Model:
    """Polynomial of degree 2: logistic regression with a weight for each pair of values, too.

    The pairs are those of the `Crossed` features, so what was seen rarely is out of vocabulary.

    Args:
        features: FeatureSet with `Crossed` features.
        linear_l2, embeddings_initializer, check_ids: as in `LR`.

    Returns:
        A model as `LR`.

    Raises:
        ValueError: if there is no `Crossed` feature.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> Poly2(features).count_params()  # LR's 10, an OOV id and nine pairs
    20

    References:
        Chang et al., Training and Testing Low-degree Polynomial Data Mappings via Linear SVM, JMLR
        2010; Juan et al., Field-aware Factorization Machines, RecSys 2016, Section 2.
    """
    arguments = {"linear_l2": linear_l2, "embeddings_initializer": embeddings_initializer}
    model = build_model("LR", features, crossed=True, **arguments)
    model.name = "Poly2"
    return model
