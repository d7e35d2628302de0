"""Models, and the settings of runs and searches, as they are listed to people.

All of it is out of the source files: importing Keras would take seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ctr_keras import outlines
from ctr_keras.descriptions import setting_lines
from ctr_keras.outlines import TREES
from ctr_keras.presets import IN_ORDER, PENALIZED, PRESETS, SEARCH_PRESETS, default_settings
from ctr_keras.settings import spelled

FAMILIES: dict[str, str] = {
    "linear": "Linear models",
    "factorization": "Factorization machines",
    "deep": "Deep towers, one or two",
    "products": "Towers on products of fields",
    "crosses": "Cross networks",
    "fields": "Fields that attend to, weigh or talk to each other",
    "powers": "Products of learned powers",
    "memorized": "Pairs of values, memorized or not",
    "sequences": "Sequences of what a user did",
    "trees": "Gradient-boosted trees",
    "labels": "Several labels",
}
_OF_A_RUN = ("data", "out", "model", "model_args")  # which have options of their own, or none
_SELECTIONS = ("random", "statistics")  # methods that train nothing

Lines = list[tuple[str, str]]  # settings with their defaults, and what each means


class Trainable(NamedTuple):
    """What a run can train.

    Attributes:
        summary, reference, family, needs, crossed: as in `ctr_keras.models.ModelEntry`.
    """

    summary: str
    reference: str
    family: str
    needs: tuple[str, ...]
    crossed: str


def trainable() -> dict[str, Trainable]:
    """What a run can train, by the name that stands for it in its settings.

    Example:

    >>> {"DeepFM", "LightGBM"} <= trainable().keys()
    True
    """
    models = {name: Trainable(**told) for name, told in outlines.models().items()}
    trees = Trainable(
        "gradient-boosted trees, grown by LightGBM",
        "Ke et al., NeurIPS 2017",
        "trees",
        needs=(),
        crossed="left out; with crossed=true trees split on them",
    )
    return {**models, TREES: trees}


def settings_of_training(model: str | None = None) -> dict[str, Lines]:
    """Settings with their defaults, and what each means, by group.

    Args:
        model: str or None. What is to be trained, whose own settings come first. Defaults to
            `None`: the settings of training alone.

    Raises:
        ValueError: for an unknown name, with the closest or the available ones.

    Example:

    >>> settings_of_training("LR")["Arguments of LR"][0]
    ('linear_l2=0.0', 'L2 penalty of the weights of the values that a batch reads, and of ...')
    """
    model = model and spelled("model", model, trainable())
    if model == TREES:
        return {f"Settings of {TREES}": _lines(_of_a_run("TreesConfig"), "TreesConfig")}
    groups = {}
    by_default: Mapping[str, Any] = {}
    if model:
        by_default = default_settings(model, {})
        changes = {**_by_the_data(model), **by_default}
        arguments = _changed(outlines.builder_defaults(model), changes)
        groups[f"Arguments of {model}"] = _lines(arguments, model)
    own, learning = _parted(_changed(_of_a_run("TrainConfig"), by_default))
    groups["Settings of a run"] = [*_lines(own, "TrainConfig"), _preset_line(model, by_default)]
    groups["How its weights learn"] = _lines(learning, "Optimization")
    return groups


def _changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: changes.get(key, value) for key, value in settings.items()}


def _by_the_data(model: str) -> dict[str, Any]:
    """What a run makes of arguments that are not given (`ctr_keras.training.defaults`)."""
    penalty = {"net_l2": "200 / rows"} if model in PENALIZED else {}
    numbers = {"numeric_embedding": "ordered"} if model in IN_ORDER else {}
    return {**penalty, **numbers}


def _preset_line(model: str | None, by_default: Mapping[str, Any]) -> tuple[str, str]:
    if model is None:
        return "preset", "A paper's settings for a data set; `ctr-keras models NAME` has a model's"
    papers = [name for name, of in PRESETS.get(model, {}).items() if of != by_default]
    named = f"A paper's settings for a data set: {', '.join(papers) or 'none'}"
    if not by_default:
        return "preset", named
    return "preset=default", f"{named}; null, as with a plan, for what builders have by default"


def _of_a_run(name: str) -> dict[str, Any]:
    defaults = outlines.dataclass_defaults(name)
    return {key: value for key, value in defaults.items() if key not in _OF_A_RUN}


def settings_of_searches() -> dict[str, Lines]:
    """The settings of each method and those that several share, by group.

    Example:

    >>> settings_of_searches()["Settings of random"][-1]
    ('seed=0', 'Of the draw')
    """
    groups = {}
    shared = outlines.dataclass_defaults("Search")
    for method, name in outlines.searches().items():
        must = dict.fromkeys(outlines.dataclass(name).required, "must be given")
        own = must | outlines.dataclass_defaults(name)
        if method not in _SELECTIONS:
            own = {key: value for key, value in own.items() if shared.get(key, own) != value}
        groups[f"Settings of {method}"] = _lines(own, name)
        if presets := SEARCH_PRESETS.get(method):
            named = f"A paper's settings for a data set: {', '.join(presets)}"
            groups[f"Settings of {method}"].append(("preset", named))
    training, learning = _parted(shared)
    groups["Settings that all methods but the last two share"] = _lines(training, "Search")
    groups["How their weights learn"] = _lines(learning, "Search")
    return groups


def _parted(settings: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The settings that say how weights learn apart from the others, which come first."""
    learning = outlines.dataclass("Optimization").types
    for is_learning in (False, True):
        yield {k: value for k, value in settings.items() if (k in learning) == is_learning}


def _lines(settings: Mapping[str, Any], name: str) -> Lines:
    return setting_lines(settings, name, outlines.docstrings())
