"""Whether the models of a study can be built, before one is trained."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model, model_arguments
from ctr_keras.training.batches import Groups, check_weight
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.spaces import check_values
from ctr_keras.types import Settings

_VALUES = 2  # of a vocabulary, at most: a table of all would take time and memory


def check_models(config: TuneConfig, features: FeatureSet) -> None:
    """Checks that data have what trials need, and that models can be built as they are searched.

    Args:
        config: TuneConfig.
        features: FeatureSet of the prepared data.

    Raises:
        ValueError: for the first value that no model is built with, or if none is built at all.
    """
    base = config.base
    check_weight(features, base.sample_weight)
    if base.group:
        Groups(features, base.group)
    arguments = model_arguments(base.model)
    if "trees" not in arguments:  # which are of the vocabularies as they are
        features = _small(features)
    space = {name: of for name, of in config.space.items() if name in (*arguments, "dtype_policy")}

    def build(settings: Settings) -> None:
        run = config.run_config(settings, seed=0)
        keras.utils.clear_session()
        keras.config.set_dtype_policy(run.dtype_policy)
        build_model(run.model, features, **run.model_args)

    try:
        check_values(space, build, config.source)
    finally:
        keras.utils.clear_session()


def _small(features: FeatureSet) -> FeatureSet:
    """The same features with vocabularies of a few values."""
    sizes = (features.vocabulary_sizes or {}).items()
    few = {name: min(size, _VALUES) for name, size in sizes}
    return FeatureSet(*features.features, label=features.label, vocabulary_sizes=few)
