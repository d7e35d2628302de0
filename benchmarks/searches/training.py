"""Searches and trainings on a log, each in a folder of its own."""

import math
import os
import statistics
from typing import NamedTuple

import keras

from benchmarks.searches.networks import write_network
from benchmarks.searches.tables import SEARCHES, Run, Settings
from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model, model_arguments
from ctr_keras.plan import InteractionPlan
from ctr_keras.search import OptInterSearch, read_search, run_search
from ctr_keras.search.verdict import read_verdicts
from ctr_keras.training import TrainConfig, load_run, predict_split, train
from ctr_keras.types import Array

_WIDEST = 4096  # that an embedding gets


class Measured(NamedTuple):
    """What a run has come to: metrics of the test rows, what its plan keeps, and its search says.

    Attributes:
        auc, log_loss: of the test rows.
        kept: by order, the share of what there is that its plan keeps (see `kept_shares`).
        parameters: of the model.
        says: the verdict of its search.
        labels, scores: `(rows,)`, of the test rows.
    """

    auc: float
    log_loss: float
    kept: list[float]
    parameters: int
    says: list[str]
    labels: Array
    scores: Array


class Bench:
    """A log with the folder of all that is searched and trained on it by one seed."""

    def __init__(self, prepared: str, folder: str, settings: Settings, seed: int) -> None:
        self._prepared = prepared
        self._folder = os.path.join(folder, str(seed))
        self._settings = settings
        self._seed = seed

    def run_folder(self, name: str) -> str:
        """Where a run of this name is."""
        return os.path.join(self._folder, "".join(c if c.isalnum() else "-" for c in name.lower()))

    def search_folder(self, search: str) -> str:
        """Where a search is."""
        return os.path.join(self._folder, f"search-{search}")

    def searched(self, search: str) -> InteractionPlan:
        """What a search finds; those that are as large as another's come after that one."""
        method, settings = SEARCHES[search]
        common: tuple[str, ...] = ()
        if method not in ("random", "statistics"):
            common = self._settings.search
        if method != "statistics":
            common = (*common, f"seed={self._seed}")
        plans = {each: f"{self.search_folder(each)}/plan.json" for each in SEARCHES}
        settings = (*common, *(setting.format(**plans) for setting in settings))
        made = read_search(method, None, settings)
        return run_search(method, made, self._prepared, self.search_folder(search))

    def trained(self, name: str, run: Run, plain: Measured | None) -> Measured:
        """What a run comes to; `plain` is what the run did that it is compared with."""
        plan, out = None, self.run_folder(name)
        settings = self._training_settings(run)
        if run.search is not None:
            plan = self.searched(run.search)
            settings = (*settings, f"interactions={self.search_folder(run.search)}/plan.json")
        if run.width and plain is not None:
            width = self._fitted_width(run, plain.parameters)
            settings = (*settings, f"{run.width}={width}")
        if run.retrained:
            given = {"data": self._prepared, "model": run.model, "out": out, "seed": self._seed}
            train(TrainConfig.read(None, settings, **given))
        else:
            write_network(OptInterSearch(seed=self._seed), self._prepared, out)
        model, features, _ = load_run(out)
        labels, scores = predict_split(model, features, self._prepared, "test")
        parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        keras.backend.clear_session()
        verdicts = read_verdicts(self.search_folder(run.search)) if run.search else []
        return Measured(
            metrics.auc(labels, scores),
            metrics.log_loss(labels, scores),
            [] if plan is None else kept_shares(plan, len(features.field_names)),
            parameters,
            [line for verdict in verdicts for line in verdict.says],
            labels,
            scores,
        )

    def _training_settings(self, run: Run) -> tuple[str, ...]:
        """Those of the log that the model takes, and the run's own."""
        has_tower = "hidden" in model_arguments(run.model)
        of_log = (one for one in self._settings.train if has_tower or not one.startswith("hidden"))
        return (*of_log, *run.settings)

    def _fitted_width(self, run: Run, parameters: int) -> int:
        """With which a model has as many parameters as it can without having more."""
        features = FeatureSet.load(os.path.join(self._prepared, "features.json"))
        least, most = 1, _WIDEST
        while least < most:
            middle = (least + most + 1) // 2
            model = build_model(run.model, features, **{run.width: middle})
            is_larger = model.count_params() > parameters
            least, most = (least, middle - 1) if is_larger else (middle, most)
        return least


def kept_shares(plan: InteractionPlan, fields: int) -> list[float]:
    """By order, the share of all combinations of fields that the plan has with any function; of a
    plan of fields the share of these, of one of groups the mean share of fields in a group, of one
    of methods the share of pairs that are not left alone."""
    if plan.fields is not None:
        return [len(plan.fields) / fields]
    if plan.groups:
        return [statistics.mean(len(group.fields) / fields for group in plan.groups)]
    found = [i.fields for i in plan.interactions if i.function != "naive"]
    kept = {*found, *(cell.fields for cell in plan.cells)}
    shares, possible = [], fields
    for order in (2, 3):
        possible = possible * (fields - order + 1) // order
        of_order = [names for names in kept if len(names) == order]
        if of_order or order == 2:
            shares.append(len(of_order) / possible)
    return shares
