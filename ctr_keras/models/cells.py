"""AutoFeature: a deep tower on embeddings and small graphs of operations on them."""

import itertools

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldCells
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import read_cells
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
)
from ctr_keras.models.registry import register
from ctr_keras.plan import Cell, InteractionPlan
from ctr_keras.settings import Count


@register(
    "deep tower on embeddings and a searched cell of operations a pair",
    "Khawar et al., CIKM 2020",
    family="products",
    needs=("two fields",),
)
def AutoFeature(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    operation: str = "multiply",
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """AutoFeature: a tower on the embeddings and on what a cell of each pair of fields says.

    A cell is a small graph of operations on its fields' embeddings (see `FieldCells`), which gives
    the tower a number for each of its ends. With a plan the cells are the plan's, of pairs or more
    fields, and others do not interact. Without one each pair has a cell of one operation.

    Args:
        features: FeatureSet of at least two fields.
        dim, embedding_l2: as in `FM`.
        interactions: InteractionPlan of cells, path to one, or None for all pairs. Defaults to
            `None`.
        operation: str. Of all pairs, where there is no plan: `"add"`, `"multiply"`,
            `"concatenate"` or `"product"`. Defaults to `"multiply"`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        net_l2: float. L2 penalty of the kernels of tower, logit and cells. Defaults to `0.0`.
        kernel_initializer: initializer of the cells' kernels. Defaults to `None`: that of
            `FieldCells`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `field_cells` holds the cells.

    Raises:
        ValueError: for an unknown operation, or a plan without cells.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> AutoFeature(features, dim=4).get_layer("deep").input.shape  # 2 * 4, and 1 of the cell
    (None, 9)

    References:
        AutoFeature: Khawar et al., CIKM 2020. What its cells give the tower is ours: one number
        for each end, as IPNN has it.
    """
    if interactions is None:
        pairs = itertools.combinations(features.field_names, 2)
        cells = tuple(Cell(pair, ((operation, 0, 1),)) for pair in pairs)
    else:
        cells = read_cells(interactions, features)
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    place = features.field_names.index
    layer = FieldCells(
        [([place(name) for name in cell.fields], cell.blocks) for cell in cells],
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_penalty(net_l2),
        name="field_cells",
    )
    vectors = joined([keras.layers.Flatten()(fields), layer(fields)], "products")
    logit = deep_logit(vectors, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="AutoFeature")
