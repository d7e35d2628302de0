"""OptInter, its two extremes and FNN: deep towers that differ in what they do with pairs."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import CombinationBlock, FieldGate
from ctr_keras.layers.base import check_choice
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import read_methods
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    field_inputs,
    joined,
    own_or,
    probability,
)
from ctr_keras.models.registry import HOW_TO_CROSS, Builder, register
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.settings import Count
from ctr_keras.types import Settings, Tensor

Pair = tuple[str, str]
_FACTOR_SOURCES = ("separate", "original")
_MIXTURE = "mixture"  # all of OptInter's methods at once
_MEMORIZED = ("memorize", _MIXTURE)
_FACTORIZED = ("factorize", _MIXTURE)
_OF_CHOICE = ("interactions", "keep_width", "gumbel_noise", "temperature_rate")
_OF_FACTORS = ("factor_function", "factor_source")


@register(
    "deep tower on embeddings; OptInter's naive extreme",
    "Zhang et al., ECIR 2016; OptInter: Lyu et al., ICDE 2022, Section II-B",
    family="deep",
)
def FNN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 20,
    *,
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    hidden_dropout: Dropout | None = None,
    normalization: str | None = "layer",
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    field_gates: Settings | None = None,
    embeddings_initializer: EmbeddingsInitializer = "glorot_uniform",
) -> keras.Model:
    """FNN: a deep tower on the fields' embeddings. OptInter calls it naive.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `20`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400, 400)`.
        dropout: float. Share of the tower's units to drop in training. Defaults to `0.0`.
        hidden_dropout: float or None. The same, by an older name. Defaults to `None`: `dropout`.
        normalization: str or None. Of the tower (see `MLP`). Defaults to `"layer"`.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"before"`.
        embedding_l2: float. As in `FM`. Defaults to `0.0`.
        net_l2: float. As in `DeepFM`. Defaults to `0.0`.
        field_gates: dict or None. Arguments of a `FieldGate` below the tower, with which this is
            the network of AutoField's search. Defaults to `None`: there is none.
        embeddings_initializer: initializer of the table, or a number, the standard deviation of a
            normal distribution. Defaults to `"glorot_uniform"`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> FNN(features, dim=4, hidden=[8], normalization=None).count_params()
    69

    References:
        [FNN](https://arxiv.org/abs/1601.02376), without its pretraining;
        [OptInter](https://arxiv.org/abs/2108.01265), Section II-B.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    if field_gates is not None:
        fields = FieldGate(**field_gates, name="field_gate")(fields)
    rate = own_or(hidden_dropout, dropout)
    logit = deep_logit(fields, hidden, rate, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="FNN")


@register(
    "each pair memorized, factorized or left out; without a plan a mixture",
    "Lyu et al., ICDE 2022, Section II",
    crossed="those of memorized pairs are embedded, without a plan all",
    family="memorized",
)
def OptInter(  # noqa: N802
    features: FeatureSet,
    dim: Count = 20,
    cross_dim: Count = 10,
    *,
    interactions: InteractionPlan | str | None = None,
    factor_function: str = "hadamard",
    factor_source: str = "separate",
    cross_l2: Penalty | None = None,
    keep_width: bool = False,
    gumbel_noise: bool = False,
    temperature_rate: float = 5e-5,
    hidden: Hidden = (400, 400, 400),
    dropout: Dropout = 0.0,
    hidden_dropout: Dropout | None = None,
    normalization: str | None = "layer",
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = "glorot_uniform",
) -> keras.Model:
    """OptInter: a deep tower on the fields' embeddings and a vector for each pair of fields.

    With a plan each pair is memorized, factorized or left out as the plan says. Without one, every
    `Crossed` feature's pair is a mixture of the three (see `CombinationBlock`): the network of the
    search.

    Memorizing a pair needs its `Crossed` feature in the feature set. Numbers and multi-valued
    fields are in no pair.

    Args:
        features: FeatureSet.
        dim: int. Width of a field's embedding. Defaults to `20`.
        cross_dim: int. Width of a pair's vector. Defaults to `10`.
        interactions: InteractionPlan of methods, path to one, or None. Defaults to `None`.
        factor_function: str. See `CombinationBlock`. Defaults to `"hadamard"`.
        factor_source: str. `"separate"` for latent vectors from a table of their own, as in the
            authors' code, or `"original"` for the fields' embeddings, as in Equation 14, which
            needs `cross_dim == dim`. Defaults to `"separate"`.
        cross_l2: float or None. Penalty of the rows of pairs and latent vectors that a batch reads,
            as `embedding_l2` is of the others. Defaults to `None`: `embedding_l2`.
        keep_width: bool. Whether naive pairs stay as zeros. Defaults to `False`.
        gumbel_noise: bool. Whether the search draws noise. Defaults to `False`.
        temperature_rate: float. Fall of the search's temperature a step. Defaults to `5e-05`.
        hidden, dropout, hidden_dropout, normalization, norm_order: as in `FNN`.
        embedding_l2, net_l2, embeddings_initializer: as in `FNN`.
        check_ids: bool. As in `FM`. Defaults to `False`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `FNN`; its layer `combination` holds the pairs.

    Raises:
        ValueError: if a pair to memorize has no `Crossed` feature, naming it.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> OptInter(features).get_layer("combination").output.shape
    (None, 1, 10)

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section II, Equations 4, 9, 14, 17 and 18.
    """
    plan = None if interactions is None else read_methods(interactions)
    pairs, methods = _pairs(features, plan)
    _check_factor_source(factor_source, dim, cross_dim)
    crossed = {_in_order(features, (f.first, f.second)): f.name for f in features.crossed}
    categorical = [feature.name for feature in features.categorical]
    memorized = [crossed[p] for p, m in zip(pairs, methods, strict=True) if m in _MEMORIZED]
    inputs = field_inputs(features)
    if not memorized:
        inputs.pop("crossed", None)

    def embedded(name: str, fields: Sequence[str], width: int, l2: float) -> Tensor:
        return embed(features, inputs, width, embeddings_initializer, name, fields=fields, l2=l2)

    originals = [name for name in features.field_names if name not in crossed.values()]
    fields = embedded("embedding", originals, dim, embedding_l2)
    vectors, l2 = {}, own_or(cross_l2, embedding_l2)
    if memorized:
        vectors["memorized"] = embedded("memorized", memorized, cross_dim, l2)
    if any(method in _FACTORIZED for method in methods):
        vectors["factors"] = fields  # categorical fields come first
        if factor_source == "separate":
            vectors["factors"] = embedded("factors", categorical, cross_dim, l2)
    parts = [keras.layers.Flatten()(fields)]
    if vectors:
        combination = CombinationBlock(
            [(categorical.index(first), categorical.index(second)) for first, second in pairs],
            None if plan is None else methods,
            factor_function,
            keep_width=keep_width,
            gumbel_noise=gumbel_noise,
            temperature_rate=temperature_rate,
            name="combination",
        )(vectors)
        parts.append(keras.layers.Flatten()(combination))
    rate = own_or(hidden_dropout, dropout)
    logit = deep_logit(joined(parts), hidden, rate, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="OptInter")


def _optinter_without(*fixed: str) -> Callable[[Builder], Builder]:
    """Decorates a builder that calls OptInter: it takes OptInter's arguments but the fixed ones."""
    signature = inspect.signature(OptInter)
    taken = [p for p in signature.parameters.values() if p.name not in fixed]
    signature = signature.replace(parameters=taken)

    def decorate(builder: Builder) -> Builder:
        @functools.wraps(builder)
        def build(*positional: Any, **named: Any) -> keras.Model:
            return builder(**signature.bind(*positional, **named).arguments)

        build.__signature__ = signature  # type: ignore[attr-defined]
        return build

    return decorate


@register(
    "OptInter, all pairs memorized",
    "Lyu et al., ICDE 2022, Section III-A",
    crossed="all are embedded, as memorized pairs",
    family="memorized",
    needs=("crossed features",),
)
@_optinter_without(*_OF_CHOICE, *_OF_FACTORS)
def OptInterM(features: FeatureSet, **arguments: Any) -> keras.Model:  # noqa: N802
    """OptInter-M: every `Crossed` feature's pair is memorized.

    Args:
        features: FeatureSet with `Crossed` features.
        dim, cross_dim, cross_l2: as in `OptInter`.
        hidden, dropout, hidden_dropout, normalization, norm_order: as in `FNN`.
        embedding_l2, net_l2, embeddings_initializer: as in `FNN`.
        check_ids: bool. As in `FM`. Defaults to `False`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `OptInter`.

    Raises:
        ValueError: if there is no `Crossed` feature.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> OptInterM(features).get_layer("memorized").count_params()  # 0, OOV and 9 pairs, 10 wide
    110

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section III-A.
    """
    plan = InteractionPlan(Interaction((f.first, f.second), "memorize") for f in features.crossed)
    model = OptInter(features, interactions=plan, **arguments)
    model.name = "OptInterM"
    return model


@register(
    "OptInter, all pairs factorized",
    "Lyu et al., ICDE 2022, Section III-A",
    crossed="left out",
    family="memorized",
)
@_optinter_without(*_OF_CHOICE)
def OptInterF(features: FeatureSet, **arguments: Any) -> keras.Model:  # noqa: N802
    """OptInter-F: every pair of categorical fields is factorized.

    Args:
        features: FeatureSet; its `Crossed` features are not used.
        dim, cross_dim, factor_function, factor_source, cross_l2: as in `OptInter`.
        hidden, dropout, hidden_dropout, normalization, norm_order: as in `FNN`.
        embedding_l2, net_l2, embeddings_initializer: as in `FNN`.
        check_ids: bool. As in `FM`. Defaults to `False`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `OptInter`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> OptInterF(features).get_layer("factors").count_params()  # 9 ids, 10 wide
    90

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section III-A.
    """
    names = [feature.name for feature in features.categorical]
    plan = InteractionPlan.complete(names, functions=["factorize"])
    model = OptInter(features, interactions=plan, **arguments)
    model.name = "OptInterF"
    return model


def _pairs(features: FeatureSet, plan: InteractionPlan | None) -> tuple[list[Pair], list[str]]:
    """Pairs of field names, those with a Crossed feature first and in its order; their methods."""
    crossed = [_in_order(features, (f.first, f.second)) for f in features.crossed]
    if plan is None:
        if not crossed:
            raise ValueError(
                f"the search mixes memorized and factorized pairs: {HOW_TO_CROSS}, or give "
                "OptInter a plan with `interactions`"
            )
        return crossed, [_MIXTURE] * len(crossed)
    plan.check([feature.name for feature in features.categorical])
    methods = {_in_order(features, i.fields): i.function for i in plan.interactions}
    for pair, method in methods.items():
        if method == "memorize" and pair not in crossed:
            raise ValueError(f"to memorize {pair[0]!r} and {pair[1]!r} declare Crossed{pair}")
    pairs = [p for p in crossed if p in methods] + [p for p in methods if p not in crossed]
    return pairs, [methods[pair] for pair in pairs]


def _in_order(features: FeatureSet, names: Iterable[str]) -> Pair:
    first, second = sorted(names, key=features.field_names.index)
    return first, second


def _check_factor_source(factor_source: str, dim: int, cross_dim: int) -> None:
    check_choice("factor_source", factor_source, _FACTOR_SOURCES)
    if factor_source == "original" and cross_dim != dim:
        raise ValueError(
            f"factor_source='original' needs cross_dim == dim. Received: {cross_dim} and {dim}"
        )
