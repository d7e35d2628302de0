"""The folder of a run: new, or that of the same run before it was interrupted."""

import os

from ctr_keras.features import FeatureSet
from ctr_keras.runs import check_same_settings, write_settings
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import check_same_features
from ctr_keras.training.trees_config import TreesConfig


def open_run(config: TrainConfig | TreesConfig, features: FeatureSet) -> None:
    """Writes what the run needs to be repeated, or checks that it is the same run.

    Raises:
        ValueError: naming the first setting that differs, or the data if they do.
    """
    path = os.path.join(config.out, "config.yaml")
    if os.path.exists(path):
        earlier = type(config).read(path, out=config.out).to_dict()
        check_same_settings(config.out, earlier, config.to_dict())
        check_same_features(FeatureSet.load(os.path.join(config.out, "features.json")), config.data)
        return
    os.makedirs(config.out, exist_ok=True)
    features.save(os.path.join(config.out, "features.json"))
    write_settings(path, config.to_dict())
