"""What is wrong with what a run, a search or an evaluation is given, said within a second: before
Keras is imported, whose models and searches then look at the rest."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from ctr_keras import outlines
from ctr_keras.features import FeatureSet
from ctr_keras.files import is_remote
from ctr_keras.limits import Limit, metric_names
from ctr_keras.outlines import TREES
from ctr_keras.presets import find_preset, with_preset
from ctr_keras.settings import Fields, Source, all_of, did_you_mean, find, spelled


def check_models(names: Iterable[str]) -> None:
    """Raises a ValueError for names of which there is no model.

    Example:

    >>> check_models(["FM", "DepFM"])
    Traceback (most recent call last):
    ValueError: unknown model 'DepFM'; did you mean 'DeepFM'?
    """
    known = [*outlines.models(), TREES]
    all_of(lambda name=name: spelled("model", name, known) for name in names)  # type: ignore[misc]


def check_run(path: str | None, overrides: Iterable[str], **given: Any) -> None:
    """Raises an error for settings that no run has, and for data that are not there.

    Args:
        path, overrides, **given: as in `ctr_keras.training.read_config`.
    """
    check_prepared(read_run(path, overrides, **given).values["data"])


def read_run(path: str | None, overrides: Iterable[str], **given: Any) -> Source:
    """The settings of a run, as they were given.

    Args:
        path, overrides, **given: as in `ctr_keras.training.read_config`.

    Raises:
        ValueError: for settings that no run has.

    Example:

    >>> read_run(None, ["epochs=few"], data="data", model="LR", out="run")
    Traceback (most recent call last):
    ValueError: --set epochs=few: epochs must be an integer, got 'few'
    """
    source = Source.read(path, overrides, given)
    source.require("data", "model", "out")
    with source.located("model"):
        model = spelled("model", source.values["model"], [*outlines.models(), TREES])
    source = dataclasses.replace(source, values={**source.values, "model": model})
    if model == TREES:
        source.check(outlines.dataclass("TreesConfig"))
    else:
        source = with_preset(source, model)
        _check(source, outlines.dataclass("TrainConfig"), model)
    return source


def check_search(
    method: str, path: str | None, overrides: Iterable[str], data: str, **given: Any
) -> None:
    """Raises an error for settings that no search of a method has, and for data that are not there.

    Args:
        method, path, overrides, **given: as in `ctr_keras.search.read_search`.
        data: str. The prepared data.
    """
    check_search_settings(method, path, overrides, **given)
    check_prepared(data)


def check_search_settings(
    method: str, path: str | None, overrides: Iterable[str], **given: Any
) -> None:
    """Raises an error for settings that no search of a method has.

    Args:
        method, path, overrides, **given: as in `ctr_keras.search.read_search`.

    Example:

    >>> check_search_settings("autofi", None, [])
    Traceback (most recent call last):
    ValueError: unknown method 'autofi'; did you mean 'autofis'?
    """
    search = find("method", method, outlines.searches())
    source = Source.read(path, overrides, given)
    source = source.with_preset(lambda name: find_preset(method, name))
    own, fields = outlines.base_of(search), outlines.dataclass(search)
    base = source.values.get("base", own)
    if "base" in source.values and "base" not in fields.types:
        raise ValueError(f"{method} takes no base: its model is {own}")
    if base is not None:
        with source.located("base"):
            base = spelled("model", base, outlines.models())
    _check(source, fields, base)


def check_prepared(data: str) -> None:
    """Raises a FileNotFoundError if a folder on the disk holds no prepared data."""
    if not is_remote(data):
        FeatureSet.load(os.path.join(data, "features.json"))


def check_fields(names: Iterable[str], features: FeatureSet) -> None:
    """Raises a ValueError for names of which there is no field."""
    known = [feature.name for feature in features.features]
    for name in names:
        if name not in known:
            raise ValueError(f"unknown field {name!r}{did_you_mean(name, known)}")


def check_bench(data: str, models: Iterable[str], by: Iterable[str]) -> None:
    """Raises an error for what no bench could end with.

    Args:
        data: str. The prepared data.
        models: list of str. Names.
        by: list of str. Fields by which runs are to be compared.
    """
    check_models(models)
    if not is_remote(data):
        check_fields(by, FeatureSet.load(os.path.join(data, "features.json")))


def check_evaluation(
    run: str,
    limits: Iterable[Limit],
    by: Iterable[str] = (),
    group: str | None = None,
    k: int = 10,
    baseline: str | None = None,
) -> None:
    """Raises a ValueError for a field that a run has not, and for a limit of what an evaluation of
    it does not measure.

    Args:
        limits: list of Limit.
        run, by, group, k, baseline: as in `ctr_keras.training.evaluate_run`.
    """
    features = FeatureSet.load(os.path.join(run, "features.json"))
    groups = [group] if group and group != features.label.group else []
    check_fields((*by, *groups), features)
    measured = metric_names(
        k,
        features.label_names,
        by_group=bool(group or features.label.group),
        over_baseline=baseline is not None,
    )
    for limit in limits:
        limit.check_among(measured)


def _check(source: Source, fields: Fields, model: str | None) -> None:
    """Checks settings, some of which are arguments of a model."""
    arguments = outlines.builder(model) if model else Fields({})
    if arguments is not None:
        source = source.with_model_args(fields, arguments.types)
        source.check(fields)
        if "model_args" in source.values:
            source.at("model_args").check(arguments)
