"""Models on the leaves of gradient-boosted trees: the leaves of a row are its fields."""

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldAwareInteraction, LinearLogit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import embed, field_inputs, probability, summed
from ctr_keras.models.registry import build_model, register
from ctr_keras.settings import Count, SettingError
from ctr_keras.trees import TreeLeaves, Trees
from ctr_keras.types import Inputs


@register(
    "logistic regression on the leaves of trees",
    "He et al., ADKDD 2014, Section 3",
    family="trees",
)
def GBDTLR(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    trees: Trees | str = "",
    *,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = "zeros",
) -> keras.Model:
    """GBDT+LR: a weight for each leaf of gradient-boosted trees, learned anew, and a bias.

    Args:
        features: FeatureSet.
        trees: Trees grown on these features, or path to them: a LightGBM run, or its `trees.json`.
            Defaults to `""`: none, which is refused.
        linear_l2: float. L2 penalty of the weights of the leaves that a batch reads. Defaults to
            `0.0`.
        embeddings_initializer: initializer of the weights, or a number, the standard deviation of a
            normal distribution. Defaults to `"zeros"`.
        check_ids: bool. Whether an id that is not of its field gives NaN (see `FieldEmbedding`).
            Defaults to `False`.
        crossed: bool. Whether the trees were grown with crossed features, as LightGBM does with
            `crossed=true`. Defaults to `False`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `leaves` has the trees, `linear` the weights.

    Raises:
        ValueError: without trees, or if they were grown on other features.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.trees import Tree
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> stump = Tree((0,), (0.0,), ((1, 3),), (False,), (-1,), (-2,), (0.5, -0.5))
    >>> GBDTLR(features, Trees(["a of 4 ids"], [stump])).count_params()  # id 0, leaves, bias
    4

    References:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014,
        Section 3.
    """
    trees = _loaded("GBDTLR", trees)
    inputs = field_inputs(features)
    linear = LinearLogit(
        trees.leaf_features, initializer=embeddings_initializer, l2=linear_l2, name="linear"
    )
    logit = linear(_leaves(features, trees, inputs))
    return CTRModel(inputs, probability(summed([logit])), name="GBDTLR")


@register(
    "field-aware factorization machine with the leaves of trees",
    "Juan et al., RecSys 2016, Section 4.4",
    family="trees",
)
def GBDTFFM(  # noqa: N802
    features: FeatureSet,
    trees: Trees | str = "",
    dim: Count = 4,
    *,
    tree_count: int = 30,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """GBDT+FFM: each tree is one field more of a field-aware factorization machine.

    Its tables have `(fields + trees - 1) * dim` numbers a value, and a row one product for each two
    of fields and trees: it takes the first few trees alone.

    Args:
        features: FeatureSet.
        trees: as in `GBDTLR`. Defaults to `""`.
        dim: int. Width of one vector. Defaults to `4`.
        tree_count: int. How many trees to take, the first ones. Defaults to `30`.
        dropout, embedding_l2, linear_l2, embeddings_initializer: as in `FM`.
        check_ids, crossed: as in `GBDTLR`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Raises:
        ValueError: as `GBDTLR`, and for less than one tree.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.trees import Tree
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> stump = Tree((0,), (0.0,), ((1, 3),), (False,), (-1,), (-2,), (0.5, -0.5))
    >>> model = GBDTFFM(features, Trees(["a of 4 ids"], [stump]))
    >>> model.get_layer("leaf_embedding").output.shape
    (None, 1, 4)

    References:
        Juan et al., Field-aware Factorization Machines for CTR Prediction, RecSys 2016,
        Section 4.4.
    """
    trees = _loaded("GBDTFFM", trees)
    if tree_count < 1:
        raise SettingError(f"tree_count must be at least 1, got {tree_count}", "tree_count")
    trees = Trees(trees.columns, trees.trees[:tree_count])
    inputs = field_inputs(features)
    leaves = _leaves(features, trees, inputs)
    width = (len(features.fields) + len(trees.trees) - 1) * dim
    options = {"initializer": embeddings_initializer, "dropout": dropout, "l2": embedding_l2}
    fields = embed(features, inputs, width, **options)
    leaf_fields = embed(trees.leaf_features, leaves, width, name="leaf_embedding", **options)
    together = keras.layers.Concatenate(axis=1)([fields, leaf_fields])
    logits = [
        LinearLogit(features, l2=linear_l2, name="linear")(inputs),
        LinearLogit(trees.leaf_features, use_bias=False, l2=linear_l2, name="leaf_linear")(leaves),
        FieldAwareInteraction(dim, name="interactions")(together),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="GBDTFFM")


def boosted(features: FeatureSet, trees: Trees) -> keras.Model:
    """The trees as they were grown: `GBDTLR` with the leaves' own values for weights.

    Args:
        features: FeatureSet.
        trees: Trees grown on all of these features, crossed ones included.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.trees import Tree
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> stump = Tree((0,), (0.0,), ((1, 3),), (False,), (-1,), (-2,), (2.0, -2.0))
    >>> model = boosted(features, Trees(["a of 4 ids"], [stump]))
    >>> [round(float(score), 2) for score in model({"categorical": np.array([[2], [3]])})[:, 0]]
    [0.88, 0.12]
    """
    model = build_model("GBDTLR", features, trees=trees, crossed=True)
    values = np.concatenate([[0.0], *(tree.leaf_values for tree in trees.trees)])
    model.get_layer("linear").weighting.table.assign(values[:, None].astype("float32"))
    return CTRModel(model.input, model.output, name="LightGBM")


def _leaves(features: FeatureSet, trees: Trees, inputs: Inputs) -> Inputs:
    """The packed inputs of the trees' leaves."""
    return {"categorical": TreeLeaves(features, trees, name="leaves")(inputs)}


def _loaded(model: str, trees: Trees | str) -> Trees:
    if isinstance(trees, Trees):
        return trees
    if not trees:
        raise SettingError(
            f"{model} needs trees: train LightGBM, and set trees to the folder of its run", "trees"
        )
    return Trees.load(trees)
