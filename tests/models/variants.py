"""Every model in the variants that differ in their layers, small, on one feature set."""

from collections.abc import Collection, Iterable

import pytest

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.models import MODELS, build_model
from ctr_keras.plan import Cell, Group, Interaction, InteractionPlan
from ctr_keras.trees import Tree, Trees
from ctr_keras.trees.columns import column_names
from tests.parameters import first_of

FEATURES = FeatureSet(
    Categorical("user", group="user"),
    Categorical("age", group="user"),
    Categorical("item", group="item"),
    Categorical("hour", group="context"),
    Numeric("price", group="context"),
    MultiValued("genres", max_length=2, group="item", weight_separator=":"),
    Sequence("history", vocabulary_of="item", max_length=5),
    Crossed("item", "user"),
    Crossed("age", "hour"),
    label=Label("click"),
    vocabulary_sizes={
        **{"user": 6, "age": 3, "item": 5, "hour": 4, "genres": 3},
        **{"item_x_user": 9, "age_x_hour": 7},
    },
)
_SEVERAL = FeatureSet(
    *FEATURES.features,
    label=[Label("click"), Label("conversion")],
    vocabulary_sizes=FEATURES.vocabulary_sizes,
)
_GATES = InteractionPlan(
    [
        Interaction(("user", "item")),
        Interaction(("age", "genres")),
        Interaction(("user", "item", "price")),
    ]
)
_FUNCTIONS = InteractionPlan(
    [
        Interaction(("user", "item"), "inner"),
        Interaction(("age", "genres"), "vector"),
        Interaction(("age", "item"), "scalar"),
        Interaction(("user", "price"), "outer"),
        Interaction(("user", "age", "item"), "vector"),
        Interaction(("user", "age", "item", "price"), "outer"),
    ],
    {"inner_2": {"user": [0, 2], "price": []}},
)
_METHODS = InteractionPlan(
    [
        Interaction(("user", "item"), "memorize"),
        Interaction(("age", "hour"), "factorize"),
        Interaction(("user", "hour"), "naive"),
    ]
)
_GROUPS = InteractionPlan(
    [],
    groups=[
        Group(("user", "price"), 1),
        Group(("user", "item", "age")),
        Group(("genres", "price")),
        Group(("user", "item", "price"), 3),
    ],
)
_CELLS = InteractionPlan(
    [],
    cells=[
        Cell(("user", "item"), [("product", 0, 1), ("concatenate", 0, 2)]),
        Cell(("price", "genres"), [("add", 0, 1), ("multiply", 0, 1)]),
        Cell(("user", "price", "age"), [("concatenate", 0, 2), ("multiply", 1, 3)]),
    ],
)
_CROSSED = {"crossed": True}
_TREES = Trees(  # by user and price, and by whether the genres have the second id
    column_names(FEATURES),
    [
        Tree(
            (0, 6), (0.0, 0.5), ((1, 3, 6), ()), (False, True), (1, -1), (-3, -2), (0.2, -0.3, 0.1)
        ),
        Tree((8,), (0.5,), ((),), (False,), (-1,), (-2,), (-0.4, 0.5)),
    ],
)
_DEEP = {"dim": 4, "hidden": [6, 5], "dropout": 0.0}
_WIDE = {"embeddings_initializer": "glorot_uniform"}  # so that a step can be seen
_MIAN = {"dim": 4, "heads": 2, "hidden": [6], "dropout": 0.0}

# Name: model and arguments. All dropout is off.
VARIANTS = {
    "LR": ("LR", {"embeddings_initializer": 0.1, **_CROSSED}),
    "Poly2": ("Poly2", {"embeddings_initializer": 0.1}),
    "FFM": ("FFM", {"dim": 2, **_CROSSED}),
    "GBDTLR": ("GBDTLR", {"trees": _TREES, "embeddings_initializer": 0.1, **_CROSSED}),
    "GBDTFFM": ("GBDTFFM", {"trees": _TREES, "dim": 2, **_CROSSED}),
    "FM": ("FM", {"dim": 4, "orders": [2, 3], **_CROSSED}),
    "AutoFM": ("FM", {"dim": 4, "interactions": _GATES}),
    "HOFM": ("HOFM", {"dim": 2, "order": 4, "share_embedding": True}),
    "FwFM": ("FwFM", {"dim": 2, "kernel_initializer": "random_normal", **_CROSSED}),
    "FmFM": ("FmFM", {"dim": 2, "kernel_initializer": "glorot_uniform"}),
    "AFM": ("AFM", {"dim": 4, "attention_units": 3, "temperature": 0.5, **_WIDE}),
    "NFM-autodis": ("NFM", {**_DEEP, **_WIDE, "numeric_embedding": "autodis"}),
    "NFM": ("NFM", {**_DEEP, **_WIDE, "normalization": None}),
    "DeepFM": ("DeepFM", {**_DEEP, **_WIDE}),
    "AutoDeepFM": ("DeepFM", {**_DEEP, **_WIDE, "interactions": _GATES}),
    "IPNN": (
        "IPNN",
        {**_DEEP, **_WIDE, **_CROSSED, "normalization": "layer", "norm_order": "after"},
    ),
    "AutoIPNN": ("IPNN", {**_DEEP, **_WIDE, "interactions": _GATES}),
    "OPNN": ("OPNN", {**_DEEP, **_WIDE, "kernel_initializer": "glorot_uniform"}),
    "PIN": ("PIN", {**_DEEP, **_WIDE, "pair_hidden": [3, 2], **_CROSSED}),
    "FNN-periodic": ("FNN", {**_DEEP, "numeric_embedding": "periodic"}),
    "FNN": ("FNN", _DEEP),
    "WideDeep": ("WideDeep", {**_DEEP, **_WIDE, "interactions": _METHODS}),
    "DeepCrossing": ("DeepCrossing", {**_DEEP, **_WIDE, "hidden": [6, 6]}),
    "CrossNet": ("CrossNet", {"dim": 4, "layers": 2, **_WIDE, **_CROSSED}),
    "DCN": ("DCN", {**_DEEP, **_WIDE, "layers": 2}),
    "DCNv2": ("DCNv2", {**_DEEP, **_WIDE, "layers": 2, "rank": 3}),
    "DCNv2-mixture": (
        "DCNv2",
        {**_DEEP, **_WIDE, "layers": 1, "rank": 3, "experts": 2, "structure": "stacked"},
    ),
    "GDCN": ("GDCN", {**_DEEP, **_WIDE, "layers": 2, "structure": "stacked"}),
    "FiBiNET": (
        "FiBiNET",
        {**_DEEP, **_WIDE, "kernel_of": "field", "kernel_initializer": "glorot_uniform"},
    ),
    "MaskNet": (
        "MaskNet",
        {**_DEEP, **_WIDE, "structure": "serial", "blocks": 2, "block_units": 5},
    ),
    "EDCN": ("EDCN", {"dim": 4, "layers": 2, "dropout": 0.0, "normalized": False, **_WIDE}),
    "FinalMLP": (
        "FinalMLP",
        {
            **{"dim": 4, "dropout": 0.0, "first_hidden": [6], "second_hidden": [4], "heads": 2},
            **{"first_context": "user", "gate_units": 3, **_WIDE, **_CROSSED},
        },
    ),
    "FinalNet": (
        "FinalNet",
        {"dim": 4, "dropout": 0.0, "first_hidden": [6, 4], "second_hidden": [4], **_WIDE},
    ),
    "AFN": ("AFN", {**_DEEP, **_WIDE, "neurons": 3, "deep_hidden": [5]}),
    "EulerNet": ("EulerNet", {"dim": 4, "units": [3, 2], **_WIDE}),
    "DESTINE": ("DESTINE", {**_DEEP, **_WIDE, "layers": 1, "units": 8, "normalization": None}),
    "DLRM": ("DLRM", {**_DEEP, **_WIDE, "bottom_hidden": [3]}),
    "AOANet": (
        "AOANet",
        {**_DEEP, **_WIDE, "vectors": 2, "kernel_initializer": "glorot_uniform"},
    ),
    "WuKong": (
        "WuKong",
        {**_DEEP, **_WIDE, "layers": 1, "units": 2, "rank": 2, "layer_hidden": [3]},
    ),
    "FiGNN": ("FiGNN", {"dim": 4, "steps": 2, **_WIDE, **_CROSSED}),
    "ONN": ("ONN", {**_DEEP, **_WIDE, "dim": 2}),
    "CIN": ("CIN", {"dim": 4, "maps": [4, 3], **_WIDE}),
    "xDeepFM": ("xDeepFM", {**_DEEP, **_WIDE, "maps": [3, 2], "split_half": False}),
    "AutoInt": (
        "AutoInt",
        {"dim": 4, "layers": 2, "head_dim": 3, "variant": "official", **_WIDE, **_CROSSED},
    ),
    "AutoIntPlus": (
        "AutoIntPlus",
        {**_DEEP, **_WIDE, "layers": 1, "head_dim": 3, "hidden_dropout": 0.0},
    ),
    "AIM": (
        "AIM",
        {**_DEEP, **_WIDE, "interactions": _FUNCTIONS, "part_scalers": True, **_CROSSED},
    ),
    "AutoFeature": (
        "AutoFeature",
        {
            **_DEEP,
            **_WIDE,
            "interactions": _CELLS,
            "kernel_initializer": "glorot_uniform",
            **_CROSSED,
        },
    ),
    "AutoGroup": ("AutoGroup", {**_DEEP, **_WIDE, "interactions": _GROUPS, **_CROSSED}),
    "OptInter": ("OptInter", {**_DEEP, "cross_dim": 3, "interactions": _METHODS}),
    "OptInter-mixture": ("OptInter", {**_DEEP, "cross_dim": 3, "factor_function": "generalized"}),
    "OptInterM": ("OptInterM", {**_DEEP, "cross_dim": 3}),
    "OptInterF": ("OptInterF", {**_DEEP, "cross_dim": 3, "factor_function": "addition"}),
    "DIN": ("DIN", {"dim": 4, "hidden": [6], "attention_hidden": [5], **_CROSSED}),
    "DIEN": ("DIEN", {"dim": 4, "hidden": [6], "attention_hidden": [5]}),
    "BST": ("BST", {"dim": 4, "hidden": [6], "heads": 2}),
    "SIM": ("SIM", {"dim": 4, "hidden": [6], "attention_hidden": [5], "count": 2}),
    "SIM-hard": ("SIM", {"dim": 4, "hidden": [6], "attention_hidden": [5], "category": "item"}),
    "ETA": ("ETA", {"dim": 4, "hidden": [6], "attention_hidden": [5], "count": 2, "bits": 8}),
    "SDIM": ("SDIM", {"dim": 4, "hidden": [6], "bits": 4, "width": 2}),
    "SharedBottom": ("SharedBottom", {**_DEEP, **_WIDE, "task_hidden": [3]}),
    "ESMM": ("ESMM", {**_DEEP, **_WIDE}),
    "MMoE": ("MMoE", {**_DEEP, **_WIDE, "experts": 2, "task_hidden": [3]}),
    "PLE": (
        "PLE",
        {**_DEEP, **_WIDE, "shared_experts": 1, "task_experts": 1, "task_hidden": [3]},
    ),
    "MIAN": ("MIAN", _MIAN),
    "MIAN-post": ("MIAN", {**_MIAN, "transformer": "post", "modules": ["behaviors", "user"]}),
    "MIAN-softmax2": ("MIAN", {**_MIAN, "transformer": "none", "output": "softmax2"}),
}


def build(variant):
    """The model of a variant."""
    name, arguments = VARIANTS[variant]
    return build_model(name, features_of(name), **arguments)


def features_of(name):
    """The features for a model: with a second label for those that predict several."""
    return _SEVERAL if MODELS[name].family == "labels" else FEATURES


OF_ONE_LABEL = [
    variant for variant, (name, _) in VARIANTS.items() if MODELS[name].family != "labels"
]

# How far int8 may move scores, where it is more than for others: of logarithms of elements near 0,
# masks that multiply, powers that a tower sees as they are, signs of hashes, gates of experts, and
# of units that add to what they get.
INT8_TOLERANCES = {
    **{"AFN": 0.1, "AutoGroup": 0.05, "MaskNet": 0.02, "PLE": 0.05, "SDIM": 0.05},
    "DeepCrossing": 0.02,
}


_ON_JAX = {"DeepFM", "AutoIntPlus", "OptInter", "MIAN"}
# By the way that they are built: of ids, trees, plans, crossed features, histories, labels.
_EACH_WAY = _ON_JAX | {"LR", "GBDTFFM", "AutoFM", "AIM", "DCNv2-mixture", "DIEN", "PLE"}


def some_on_jax(names: Iterable[str]) -> list:
    """Parameters, of which a few are for both backends: the others share their layers with them."""
    return [pytest.param(n, marks=pytest.mark.backend) if n in _ON_JAX else n for n in names]


def each_way(names: Collection[str], more: Collection[str] = (), *, on_jax: bool = True) -> list:
    """As `some_on_jax`, for tests of code that all models share.

    The suite has a model for each way to build one, and `more`; the whole suite has all.
    """
    chosen = _EACH_WAY.union(more)
    rest = first_of((n for n in names if n not in chosen), 0)
    some = [n for n in names if n in chosen]
    return (some_on_jax(some) if on_jax else some) + rest
