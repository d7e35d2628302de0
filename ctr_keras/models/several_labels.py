"""Models of several labels: one bottom for all, ESMM, MMoE and PLE."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FunnelSigmoid, GatedExperts, TaskTowers
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import embed, field_inputs, kernel_penalty, probability, tower
from ctr_keras.models.registry import register
from ctr_keras.settings import Count
from ctr_keras.types import Inputs, Settings, Tensor


@register(
    "one deep tower below a tower a label",
    "Caruana, Machine Learning 28, 1997",
    family="labels",
)
def SharedBottom(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    hidden: Hidden = (200, 80),
    task_hidden: Hidden = (64,),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Shared bottom: all labels are predicted from one tower's output, each by a tower of its own.

    Args:
        features: FeatureSet, with any number of labels.
        dim: int. Width of an embedding. Defaults to `16`.
        hidden: list of int. Widths of the shared tower. Defaults to `(200, 80)`.
        task_hidden: list of int. Widths of a label's tower. Defaults to `(64,)`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the probability of each label, `(batch, labels)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), label=[Label("click"), Label("like")], vocabulary_sizes={"a": 3}
    ... )
    >>> SharedBottom(features, hidden=[8]).output_shape
    (None, 2)

    References:
        Caruana, Multitask Learning, Machine Learning 28, 1997; the baseline of Ma et al., KDD 2018,
        Section 3.1.
    """
    inputs, fields = _inputs(features, dim, embeddings_initializer, embedding_l2)
    settings = _settings(dropout, normalization, norm_order, net_l2)
    weights = {"kernel_regularizer": kernel_penalty(net_l2)}
    bottom = tower(fields, hidden, dropout, normalization, norm_order, "bottom", **weights)
    logits = _logits(features, bottom, task_hidden, settings)
    return CTRModel(inputs, probability(logits), name="SharedBottom")


@register(
    "click, and conversion as click times its rate, both over all rows",
    "Ma et al., SIGIR 2018, Section 2",
    family="labels",
    needs=("several labels",),
)
def ESMM(  # noqa: N802
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
    """ESMM: the rate of conversion after a click is learned from all rows, by its product with it.

    The labels are steps of a funnel, the first one first: each is only where the one before is.
    Their towers share the embedding; the `k`-th gives the rate of its step among rows that came as
    far as the one before, and a label's score is the product so far. The rate after a click is the
    ratio of two scores.

    Args:
        features: FeatureSet, with labels such as click and conversion, in this order.
        dim: int. Width of an embedding. Defaults to `16`.
        hidden: list of int. Widths of a label's tower. Defaults to `(200, 80)`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the probability of each label, `(batch, labels)` float32.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), label=[Label("click"), Label("buy")], vocabulary_sizes={"a": 3}
    ... )
    >>> click, buy = ESMM(features).predict({"categorical": np.array([[2]])}, verbose=0)[0]
    >>> bool(buy < click)
    True

    References:
        [Entire Space Multi-Task Model](https://arxiv.org/abs/1804.07931), Equations 2 and 3.
    """
    inputs, fields = _inputs(features, dim, embeddings_initializer, embedding_l2)
    settings = _settings(dropout, normalization, norm_order, net_l2)
    logits = _logits(features, fields, hidden, settings)
    score = FunnelSigmoid(dtype="float32", name="score")(logits)
    return CTRModel(inputs, score, name="ESMM")


@register(
    "experts that all labels share, weighed by a gate a label",
    "Ma et al., KDD 2018, Section 4",
    family="labels",
)
def MMoE(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    experts: Count = 4,
    hidden: Hidden = (200, 80),
    task_hidden: Hidden = (64,),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """MMoE: several towers read all fields, and each label's gate mixes what they find.

    Args:
        features: FeatureSet, with any number of labels.
        dim: int. Width of an embedding. Defaults to `16`.
        experts: int. Towers that all labels share. Defaults to `4`.
        hidden: list of int. Widths of an expert. Defaults to `(200, 80)`.
        task_hidden: list of int. Widths of a label's tower. Defaults to `(64,)`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the probability of each label, `(batch, labels)` float32.
        Its layer `experts_0` gives the gates, too (see `GatedExperts`).

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), label=[Label("click"), Label("like")], vocabulary_sizes={"a": 3}
    ... )
    >>> len(MMoE(features, experts=3, hidden=[8]).get_layer("experts_0").experts)
    3

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, Section 4.
    """
    inputs, fields = _inputs(features, dim, embeddings_initializer, embedding_l2)
    settings = _settings(dropout, normalization, norm_order, net_l2)
    mixed = GatedExperts(
        len(features.tasks), hidden, shared_experts=experts, name="experts_0", **settings
    )(fields)
    logits = _logits(features, mixed, task_hidden, settings)
    return CTRModel(inputs, probability(logits), name="MMoE")


@register(
    "experts of a label and shared ones, apart and in levels",
    "Tang et al., RecSys 2020, Section 4",
    family="labels",
)
def PLE(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    levels: Count = 2,
    shared_experts: Count = 2,
    task_experts: int = 2,
    hidden: Hidden = (80,),
    task_hidden: Hidden = (64,),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """PLE: as MMoE, with experts that one label alone takes from, level by level. One level is CGC.

    Args:
        features: FeatureSet, with any number of labels.
        dim: int. Width of an embedding. Defaults to `16`.
        levels: int. Of experts and gates. Defaults to `2`.
        shared_experts: int. In a level. Defaults to `2`.
        task_experts: int. In a level, of each label. Defaults to `2`.
        hidden: list of int. Widths of an expert. Defaults to `(80,)`: levels make it deep.
        task_hidden: list of int. Widths of a label's tower. Defaults to `(64,)`.
        dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the probability of each label, `(batch, labels)` float32.
        Its layers `experts_0`, ... are the levels.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), label=[Label("click"), Label("like")], vocabulary_sizes={"a": 3}
    ... )
    >>> [len(PLE(features, hidden=[8]).get_layer(f"experts_{level}").gates) for level in (0, 1)]
    [3, 2]

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
        Personalized Recommendations, RecSys 2020, Section 4.
    """
    inputs, mixed = _inputs(features, dim, embeddings_initializer, embedding_l2)
    settings = _settings(dropout, normalization, norm_order, net_l2)
    for level in range(levels):
        is_last = level == levels - 1
        experts = GatedExperts(
            len(features.tasks),
            hidden,
            shared_experts=shared_experts,
            task_experts=task_experts,
            hands_on=not is_last,
            name=f"experts_{level}",
            **settings,
        )
        mixed = experts(mixed)
    logits = _logits(features, mixed, task_hidden, settings)
    return CTRModel(inputs, probability(logits), name="PLE")


def _inputs(
    features: FeatureSet, dim: int, initializer: EmbeddingsInitializer, l2: float
) -> tuple[Inputs, Tensor]:
    """The packed inputs, and all fields' embeddings side by side."""
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, initializer, l2=l2)
    return inputs, keras.layers.Flatten()(fields)


def _settings(dropout: float, normalization: str | None, norm_order: str, l2: float) -> Settings:
    """Those of the towers inside layers."""
    return {
        "dropout": dropout,
        "normalization": normalization,
        "order": norm_order,
        "kernel_regularizer": kernel_penalty(l2),
    }


def _logits(features: FeatureSet, mixed: Tensor, hidden: Hidden, settings: Settings) -> Tensor:
    """A tower and a logit a label, `(batch, labels)`."""
    count = len(features.tasks)
    towers = TaskTowers(count, hidden, name="task_towers", **settings)(mixed)
    logit = keras.layers.EinsumDense(
        "btd,dt->bt",
        count,
        bias_axes="t",
        kernel_regularizer=settings["kernel_regularizer"],
        dtype="float32",
        name="logit",
    )
    return logit(towers)
