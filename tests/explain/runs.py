"""Runs as searches and training leave them, without a search and without training."""

import json
import pathlib

import yaml

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric, Sequence
from ctr_keras.models import build_model
from ctr_keras.plan import InteractionPlan
from ctr_keras.training import TrainConfig

# As those of `tests.data.shards`, with the groups that MIAN needs.
FEATURES = FeatureSet(
    Categorical("a", group="item"),
    Categorical("b", group="user"),
    Numeric("row", group="context"),
    MultiValued("genres", max_length=3, group="item"),
    Sequence("history", vocabulary_of="a", max_length=2),
    label=Label("click"),
    vocabulary_sizes={"a": 2, "b": 2, "genres": 4},
)


def write_search(folder: pathlib.Path, data: str, method: str, plan: InteractionPlan) -> str:
    """The folder of a finished search."""
    folder.mkdir(parents=True)
    FEATURES.save(folder / "features.json")
    plan.save(folder / "plan.json")
    settings = {"data": data, "method": method, "model_args": {"dim": 4}, "out": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return str(folder)


def write_run(folder: pathlib.Path, data: str, model: str, **model_args: object) -> str:
    """The folder of a finished training run whose model has its first weights."""
    folder.mkdir(parents=True)
    FEATURES.save(folder / "features.json")
    config = TrainConfig(data=data, model=model, out=str(folder), model_args=model_args)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    (folder / "metrics.json").write_text(json.dumps({}))
    build_model(model, FEATURES, **model_args).save(folder / "model.keras")
    return str(folder)
