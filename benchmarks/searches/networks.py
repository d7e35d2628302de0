"""The network that OptInter has searched in, as a run, without being trained again."""

import dataclasses
import os

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.plan import METHODS, InteractionPlan
from ctr_keras.search import OptInterSearch
from ctr_keras.search.optinter import _DRAWN, _DrawnMethods
from ctr_keras.search.rows import both_splits
from ctr_keras.search.stage import Conclusion, Stage
from ctr_keras.search.verdict import Course
from ctr_keras.training import TrainConfig
from ctr_keras.training.folder import finish_run, open_run


def write_network(search: OptInterSearch, prepared: str, out: str) -> None:
    """Searches, and writes the network with the methods that it has found as a run.

    Args:
        search: OptInterSearch.
        prepared: the prepared data.
        out: the run's folder; one that has ended stays as it is.
    """
    features = FeatureSet.load(os.path.join(prepared, "features.json"))
    with open_run(TrainConfig(prepared, "OptInter", out), features) as finished:
        if finished is None:
            stage = Stage(search, features, *both_splits(features, prepared, prepared), None)
            gates = _Remembered(stage, search._model_args(_DRAWN), search.keep)
            stage.run(gates)
            gates.networks[0].save(os.path.join(out, "model.keras"))
            finish_run(out, {})


@dataclasses.dataclass(frozen=True)
class _Remembered(_DrawnMethods):
    """Of which the network is left, each pair treated as it was chosen."""

    networks: list[keras.Model] = dataclasses.field(default_factory=list)

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        found = super().conclude(model, best, course)
        methods = [METHODS.index(i.function) for i in found.plan.interactions]
        model.get_layer("combination").logits.assign(np.eye(len(METHODS))[methods])
        self.networks.append(model)
        return found
