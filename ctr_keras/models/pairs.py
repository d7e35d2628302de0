"""Factorization machines that treat pairs of fields differently: FwFM, FmFM, AFM, NFM."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    BilinearInteraction,
    FactorizationMachine,
    LinearLogit,
    PairAttention,
)
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
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
from ctr_keras.settings import Count


@register(
    "factorization machine with a weight for each pair",
    "Pan et al., WWW 2018, Section 3",
    family="factorization",
    needs=("two fields",),
)
def FwFM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "ones",
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Field-weighted factorization machine: each pair of fields has a weight.

    `logit = <w, x> + b + sum_{i<j} r_ij <e_i, e_j>`, which is `FM` where all weights are 1.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of an embedding. Defaults to `16`.
        dropout, embedding_l2, linear_l2, embeddings_initializer: as in `FM`.
        net_l2: float. L2 penalty of the weights of pairs, `net_l2 * sum of r^2`. Defaults to `0.0`.
        kernel_initializer: initializer of these weights. Defaults to `"ones"`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `products` holds the weights.

    Raises:
        ValueError: if there is one field only.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FwFM(features, dim=4).count_params()  # FM's 46, and one pair
    47

    References:
        [FwFM](https://arxiv.org/abs/1806.03514), Section 3, with a plain linear part.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    products = BilinearInteraction(
        "scalar",
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_penalty(net_l2),
        name="products",
    )
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(inputs), products(fields)]
    return CTRModel(inputs, probability(summed(logits)), name="FwFM")


@register(
    "factorization machine with a matrix for each pair",
    "Sun et al., WWW 2021, Section 3",
    family="factorization",
    needs=("two fields",),
)
def FmFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    kernel: str = "matrix",
    *,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Field-matrixed factorization machine: each pair of fields has a matrix.

    `logit = <w, x> + b + sum_{i<j} <e_i W_ij, e_j>`, which is `FM` where all are the identity and
    `FwFM` where they are multiples of it.

    Args:
        features, dim, dropout, embedding_l2, linear_l2, net_l2: as in `FwFM`.
        kernel: str. `"matrix"`, or `"vector"` for diagonal ones. Defaults to `"matrix"`.
        kernel_initializer: initializer of the matrices. Defaults to `None`: the identity.
        embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `FwFM`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FmFM(features, dim=4).count_params()  # FM's 46, and 4 times 4 of the pair
    62

    References:
        [FmFM](https://arxiv.org/abs/2102.12994), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    products = BilinearInteraction(
        kernel,
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_penalty(net_l2),
        name="products",
    )
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(inputs), products(fields)]
    return CTRModel(inputs, probability(summed(logits)), name="FmFM")


@register(
    "factorization machine that attends to pairs",
    "Xiao et al., IJCAI 2017, Section 3",
    family="factorization",
    needs=("two fields",),
)
def AFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    attention_units: Count = 16,
    *,
    temperature: float = 1.0,
    dropout: Dropout = 0.0,
    attention_dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Attentional factorization machine: a mean of pairs' products, weighted by attention.

    `logit = <w, x> + b + <p, sum_{i<j} a_ij e_i * e_j>` (see `PairAttention`).

    Args:
        features, dim, embedding_l2, linear_l2: as in `FwFM`.
        attention_units: int. Width of the attention. Defaults to `16`.
        temperature: float. Of its softmax. Defaults to `1.0`.
        dropout: float. Share of the pooled vector's elements to drop in training. Defaults to
            `0.0`.
        attention_dropout: float. That of attention weights. Defaults to `0.0`.
        net_l2: float. L2 penalty of the kernels of attention and `p`. Defaults to `0.0`.
        embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `attention` holds the attention, `pair_logit` is `p`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> AFM(features, dim=4, attention_units=2).count_params()  # FM's 46, 8 + 2 + 2 and 4
    62

    References:
        [AFM](https://arxiv.org/abs/1708.04617), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    attention = PairAttention(
        attention_units,
        temperature=temperature,
        dropout=attention_dropout,
        name="attention",
        **penalty,
    )
    pooled = keras.layers.Dropout(dropout, name="dropped_pairs")(attention(fields))
    logits = [
        LinearLogit(features, l2=linear_l2, name="linear")(inputs),
        dense_logit(pooled, "pair_logit", use_bias=False, **penalty),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="AFM")


@register(
    "deep tower on the sum of pairs' products",
    "He and Chua, SIGIR 2017, Section 3",
    family="factorization",
)
def NFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Neural factorization machine: a linear logit, and a tower on `sum_{i<j} e_i * e_j`.

    Args:
        features, dim, embedding_l2, linear_l2: as in `FwFM`.
        hidden, dropout, normalization, norm_order, net_l2: as in `DeepFM`; the dropout is of the
            tower's input as well.
        embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> NFM(features, dim=4, hidden=[8]).get_layer("deep").input.shape
    (None, 4)

    References:
        [NFM](https://arxiv.org/abs/1708.05027), Section 3, without its normalization of the sum.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    pooled = FactorizationMachine(summed=False, name="pooled")(fields)
    pooled = keras.layers.Dropout(dropout, name="dropped_pairs")(pooled)
    logits = [
        LinearLogit(features, use_bias=False, l2=linear_l2, name="linear")(inputs),
        deep_logit(pooled, hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="NFM")
