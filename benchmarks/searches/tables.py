"""What the tables have: searches, and runs by their name in a table."""

from collections.abc import Mapping
from typing import NamedTuple


class Run(NamedTuple):
    """A model that is trained.

    Attributes:
        model: its name.
        search: in `SEARCHES`, the one whose plan it is built on; None for a plain model.
        settings: of the training.
        against: the run in the same table that it is compared with.
        width: the argument of the model by which it gets as many parameters as `against`.
        retrained: whether it is trained, rather than OptInter's network of the search as it is.
    """

    model: str
    search: str | None = None
    settings: tuple[str, ...] = ()
    against: str = ""
    width: str = ""
    retrained: bool = True


class Settings(NamedTuple):
    """Of all trainings and of all searches on a log; what is not here is as it is by default."""

    train: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


_SMALL = Settings(
    ("dim=16", "batch_size=256", "epochs=20", "patience=1", "hidden=[100, 100]"), ("dim=16",)
)
SETTINGS: Mapping[str, Settings] = {
    "movielens-1m": Settings(
        ("dim=16", "batch_size=1024", "epochs=10", "patience=1", "hidden=[200, 200]"), ("dim=16",)
    ),
    "criteo": _SMALL,
    "avazu": _SMALL,
    "amazon_access": _SMALL,
    "coupons": _SMALL,
    "frappe": _SMALL,
}
DEFAULTS = ("logs-fm", "logs-deepfm", "logs-aim", "logs-optinter")  # tables without settings
CROSSED = ("logs-optinter",)  # tables of logs with all pairs crossed
# Search: method and settings. Of third order the pool, as all triples of 39 fields need more memory
# than there is.
SEARCHES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "fm-2": ("autofis", ("base=FM",)),
    "fm-3": ("autofis", ("base=FM", "order=3", "pool=true")),
    "deepfm-2": ("autofis", ("base=DeepFM",)),
    "deepfm-3": ("autofis", ("base=DeepFM", "order=3", "pool=true")),
    "bilevel": ("autofis", ("base=FM", "bilevel=true")),
    "random": ("random", ("like={fm-2}",)),
    "statistics": ("statistics", ("like={fm-2}",)),
    "random-deepfm": ("random", ("like={deepfm-2}",)),
    "statistics-deepfm": ("statistics", ("like={deepfm-2}",)),
    "autofield": ("autofield", ()),
    "random-fields": ("random", ("like={autofield}",)),
    "autogroup": ("autogroup", ()),
    "random-groups": ("random", ("like={autogroup}",)),
    "autofeature": ("autofeature", ()),
    "random-cells": ("random", ("like={autofeature}",)),
    "aim": ("aim", ()),
    "random-aim": ("random", ("like={aim}",)),
    "statistics-aim": ("statistics", ("like={aim}",)),
    "aim-pairs": ("aim", ("functions=[inner]", "dims=false")),
    "aim-functions": ("aim", ("dims=false",)),
    "aim-3": ("aim", ("order=3", "dims=false")),
    "optinter": ("optinter", ()),
    "random-methods": ("random", ("like={optinter}",)),
}
_PLAIN = ("normalized=false", "gated=false")
ABLATIONS = {
    "AutoFM, no normalization": Run("FM", "fm-2", ("normalized=false",)),
    "AutoFM, no normalization, no gates": Run("FM", "fm-2", _PLAIN),
    "AutoFM, bi-level search": Run("FM", "bilevel"),
    "FM on random pairs": Run("FM", "random", _PLAIN),
    "FM on pairs of best statistics_AUC": Run("FM", "statistics", _PLAIN),
}


def _on_logs(model: str, search: str, random: str, statistics: str, plain: str) -> dict[str, Run]:
    return {
        plain: Run(plain),
        f"{model}, searched": Run(model, search, against=plain),
        f"{model}, random": Run(model, random, against=plain),
        f"{model}, best statistics_AUC": Run(model, statistics, against=plain),
    }


TABLES: Mapping[str, Mapping[str, Run]] = {
    "papers": {
        "FM": Run("FM"),
        "AutoFM (2nd)": Run("FM", "fm-2"),
        "AutoFM (3rd)": Run("FM", "fm-3"),
        "DeepFM": Run("DeepFM"),
        "AutoDeepFM (2nd)": Run("DeepFM", "deepfm-2"),
        "AutoDeepFM (3rd)": Run("DeepFM", "deepfm-3"),
        "IPNN": Run("IPNN"),
        "AutoIPNN (2nd)": Run("IPNN", "fm-2"),
        "AutoIPNN (3rd)": Run("IPNN", "fm-3"),
        "AIM": Run("AIM", "aim"),
        **ABLATIONS,
    },
    "logs-fm": _on_logs("FM", "fm-2", "random", "statistics", "FM"),
    "logs-deepfm": _on_logs("DeepFM", "deepfm-2", "random-deepfm", "statistics-deepfm", "DeepFM"),
    "logs-aim": _on_logs("AIM", "aim", "random-aim", "statistics-aim", "IPNN"),
    "logs-optinter": {
        "FNN": Run("FNN"),
        "OptInter-F": Run("OptInterF", against="FNN"),
        "OptInter-M": Run("OptInterM", against="FNN"),
        "OptInter, searched": Run("OptInter", "optinter", against="FNN"),
        "OptInter, searched, not retrained": Run(
            "OptInter", "optinter", against="OptInter, searched", retrained=False
        ),
        "OptInter, random methods": Run("OptInter", "random-methods", against="FNN"),
        **{
            f"{name}, as many parameters": Run(model, against="OptInter, searched", width=width)
            for name, model, width in (
                ("FM", "FM", "dim"),
                ("FNN", "FNN", "dim"),
                ("IPNN", "IPNN", "dim"),
                ("DeepFM", "DeepFM", "dim"),
                ("OptInter-F", "OptInterF", "cross_dim"),
                ("OptInter-M", "OptInterM", "cross_dim"),
            )
        },
    },
    "aim": {
        "AIM, interactions alone": Run("AIM", "aim-pairs"),
        "AIM, and their functions": Run("AIM", "aim-functions"),
        "AIM, functions on one table": Run("AIM", "aim-functions", ("share_embedding=true",)),
        "AIM, and dimensions": Run("AIM", "aim"),
        "AIM, order 3, without dimensions": Run("AIM", "aim-3"),
        "DeepFM": Run("DeepFM"),
        "DeepFM on AIM's interactions": Run("DeepFM", "aim-functions", _PLAIN),
        "IPNN": Run("IPNN"),
        "IPNN on AIM's interactions": Run("IPNN", "aim-functions", _PLAIN),
    },
    "autofield": {
        "FM": Run("FM"),
        "FM on AutoField's fields": Run("FM", "autofield"),
        "FM on as many random fields": Run("FM", "random-fields"),
        "DeepFM": Run("DeepFM"),
        "DeepFM on AutoField's fields": Run("DeepFM", "autofield"),
        "DeepFM on as many random fields": Run("DeepFM", "random-fields"),
    },
    "autogroup": {
        "DeepFM": Run("DeepFM"),
        "AutoGroup, all fields in each group": Run("AutoGroup"),
        "AutoGroup on its search's groups": Run("AutoGroup", "autogroup"),
        "AutoGroup on random groups": Run("AutoGroup", "random-groups"),
    },
    "autofeature": {
        "DeepFM": Run("DeepFM"),
        "AutoFeature, products of all pairs": Run("AutoFeature"),
        "AutoFeature on its search's cells": Run("AutoFeature", "autofeature"),
        "AutoFeature on these cells at random pairs": Run("AutoFeature", "random-cells"),
    },
    "autoint": {
        "AutoInt": Run("AutoInt"),
        "AutoInt without residual": Run("AutoInt", settings=("residual=none",)),
        "AutoInt+": Run("AutoIntPlus"),
        "AutoInt+ without residual": Run("AutoIntPlus", settings=("residual=none",)),
    },
}
STABILITY = ("fm-2", "deepfm-2")  # the searches whose gates are compared
