"""Whether the models of a study can be built, before one is trained."""

from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model, model_arguments
from ctr_keras.training.batches import check_settings_of_labels, check_weight, groups_for
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.spaces import Range, model_space, refused_values
from ctr_keras.types import Settings

_VALUES = 2  # of a vocabulary, at most: a table of all would take time and memory


def buildable(config: TuneConfig, features: FeatureSet) -> TuneConfig:
    """A study of which models can be built, from data that have what trials need.

    Of the space that comes with a model, values of which no model can be built with what is fixed
    are left out, with a line that says why: `heads` that do not divide a `dim` that is given.

    Args:
        config: TuneConfig.
        features: FeatureSet of the prepared data, with the labels that are learned.

    Raises:
        ValueError: for the first value of a space of the user's own that no model is built with, or
            if none is built at all.
    """
    base = config.base
    check_settings_of_labels(base, features)
    check_weight(features, base.sample_weight)
    groups_for(base, features)
    arguments = model_arguments(base.model)
    if "trees" not in arguments:  # which are of the vocabularies as they are
        features = _small(features)
    space = {name: of for name, of in config.space.items() if name in (*arguments, "dtype_policy")}

    def build(settings: Settings) -> None:
        run = config.run_config(settings, seed=0)
        keras.utils.clear_session()
        keras.config.set_dtype_policy(run.dtype_policy)
        build_model(run.model, features, **run.model_args)

    own = model_space(base.model)
    left_out: dict[str, list[Any]] = {}
    try:
        for refused in refused_values(space, build):
            of = space[refused.name]
            if isinstance(of, Range) or of != own.get(refused.name):
                with config.source.located(refused.name):
                    raise ValueError(refused.reason)
            print(f"not searched: {refused.reason}")
            left_out.setdefault(refused.name, []).append(refused.value)
    finally:
        keras.utils.clear_session()
    return config.without(left_out)


def _small(features: FeatureSet) -> FeatureSet:
    """The same features with vocabularies of a few values."""
    sizes = (features.vocabulary_sizes or {}).items()
    few = {name: min(size, _VALUES) for name, size in sizes}
    return FeatureSet(*features.features, label=features.tasks, vocabulary_sizes=few)
