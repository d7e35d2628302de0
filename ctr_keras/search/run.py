"""A search as a run: settings, prepared data, and a folder that holds what was found."""

import os
import shutil
from collections.abc import Iterable
from typing import Any

from ctr_keras.features import FeatureSet
from ctr_keras.models import check_arguments, model_arguments
from ctr_keras.plan import InteractionPlan
from ctr_keras.presets import find_preset
from ctr_keras.runs import (
    check_same_settings,
    has_begun,
    kept_for,
    write_settings,
)
from ctr_keras.search.aim import AIMSearch
from ctr_keras.search.autofeature import AutoFeatureSearch
from ctr_keras.search.autofield import AutoFieldSearch
from ctr_keras.search.autofis import AutoFISSearch
from ctr_keras.search.autogroup import AutoGroupSearch
from ctr_keras.search.deeplight import DeepLightSearch
from ctr_keras.search.optfs import OptFSSearch
from ctr_keras.search.optinter import OptInterSearch
from ctr_keras.search.selections import RandomSelection, StatisticsSelection
from ctr_keras.settings import Source, fields_of, find, plain

SEARCHES: dict[str, Any] = {
    "autofis": AutoFISSearch,
    "aim": AIMSearch,
    "optinter": OptInterSearch,
    "autofield": AutoFieldSearch,
    "deeplight": DeepLightSearch,
    "optfs": OptFSSearch,
    "autogroup": AutoGroupSearch,
    "autofeature": AutoFeatureSearch,
    "random": RandomSelection,
    "statistics": StatisticsSelection,
}


def read_search(
    method: str, path: str | None = None, overrides: Iterable[str] = (), **given: Any
) -> Any:
    """A search from a YAML file, changed by `given` and then by `key=value` strings.

    A key that is no setting of the search but an argument of its model goes to `model_args`. The
    key `preset` stands for a paper's settings for a data set, which all other keys override.

    Args:
        method: str. A name in `SEARCHES`.
        path: str or None. The YAML file. Defaults to `None`: none.
        overrides: list of str. `key=value`, the value written as in YAML. Defaults to `()`.
        **given: settings by name.

    Raises:
        ValueError: for an unknown method or key, or a value that does not fit, naming it.

    Example:

    >>> search = read_search("autofis", None, ["order=3", "dim=8"], base="FM")
    >>> search.order, search.model_args
    (3, {'dim': 8})
    """
    kind = find("method", method, SEARCHES)
    source = Source.read(path, overrides, given)
    source = source.with_preset(lambda name: find_preset(method, name))
    base = source.values.get("base", getattr(kind, "base", None))
    with source.located("base"):
        arguments = model_arguments(base) if base else {}
    source = source.with_model_args(fields_of(kind), arguments)
    with source.located("model_args"):
        check_arguments(base, source.values.get("model_args", {}))
    return source.build(kind)


def _read_settings(path: str) -> dict[str, Any]:
    """A search's `config.yaml`; what an earlier version did not have is as it was: the default."""
    settings = dict(Source.read(path).values)
    method, data = settings.pop("method"), settings.pop("data")
    return {"data": data, "method": method, **plain(read_search(method, **settings))}


def run_search(method: str, search: Any, data: str, out: str) -> InteractionPlan:
    """Searches prepared data, or goes on with a search that was interrupted.

    Args:
        method: str. A name in `SEARCHES`.
        search: as `read_search` gives.
        data: str. The folder that `ctr-keras prepare` wrote.
        out: str. The search's folder. It will hold `plan.json`, and how the search went in
            `history.csv`.

    Returns:
        The plan.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds a search with other settings or of other data, or no search,
            or another process works in it; or if the data have several labels.
    """
    features = FeatureSet.load(os.path.join(data, "features.json"))
    if len(features.tasks) > 1:
        raise ValueError(
            f"a search is for one label, and {data} has {', '.join(features.label_names)}: prepare "
            f"data with one, as in `label: {features.label.name}` in the data set's YAML"
        )
    path = os.path.join(out, "plan.json")
    with kept_for("search", out):
        _open_folder(out, {"data": data, "method": method, **plain(search)}, features)
        if not os.path.exists(path):
            plan: InteractionPlan = search.search(features, data, data, out)
            plan.save(path)
        shutil.rmtree(os.path.join(out, "checkpoints"), ignore_errors=True)
    return InteractionPlan.load(path)


def _open_folder(out: str, settings: dict[str, Any], features: FeatureSet) -> None:
    """Writes what the search needs to be repeated, or checks that it is the same search."""
    config, declared = os.path.join(out, "config.yaml"), os.path.join(out, "features.json")
    if os.path.exists(config) and has_begun(out):
        check_same_settings(out, _read_settings(config), settings)
        if FeatureSet.load(declared) != features:
            raise ValueError(f"{out} holds a search of other data than {settings['data']}")
        return
    features.save(declared)
    write_settings(config, settings, settings["data"])
