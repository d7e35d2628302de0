"""Fi-GNN: fields as the nodes of a graph."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import AttentionalLogit, FieldGraph
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import embed, field_inputs, kernel_penalty, probability, summed
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "messages between fields on a graph",
    "Li et al., CIKM 2019, Section 3",
    family="fields",
    needs=("two fields",),
)
def FiGNN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    steps: Count = 3,
    *,
    recurrent: bool = True,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Fi-GNN: fields send each other messages for some steps; then each votes, and counts so much.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of an embedding. Defaults to `16`.
        steps: int. Number of rounds of messages (see `FieldGraph`). Defaults to `3`.
        recurrent: bool. Whether a GRU updates the fields. Defaults to `True`.
        dropout, embedding_l2, embeddings_initializer: as in `FM`.
        net_l2: float. L2 penalty of the kernels of graph and votes. Defaults to `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `graph` passes the messages, `vote_logit` has the votes.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FiGNN(features, dim=4).get_layer("vote_logit").count_params()  # 4, 8 times 2, a bias
    21

    References:
        [Fi-GNN](https://arxiv.org/abs/1910.05552), Section 3, without self-attention before it.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    states = FieldGraph(steps, recurrent=recurrent, name="graph", **penalty)(fields)
    logit = AttentionalLogit(name="vote_logit", **penalty)(states)
    return CTRModel(inputs, probability(summed([logit])), name="FiGNN")
