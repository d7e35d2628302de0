"""A model that starts from the weights of an earlier run."""

import filecmp
import json
import os

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import numbers_file, vocabulary_file
from ctr_keras.models import model_arguments, transfer
from ctr_keras.models.base import built_features
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import check_same_features, load_run
from ctr_keras.types import Settings


def started(model: keras.Model, features: FeatureSet, config: TrainConfig) -> keras.Model:
    """The model with the weights of the run to start from: by value where vocabularies differ.

    Raises:
        FileNotFoundError: if there is no such run, or its data are not there and needed.
        ValueError: if its weights are not those of such a model, with the arguments that differ.
    """
    run = config.start_from
    earlier, earlier_features, earlier_config = load_run(run)
    if earlier_config.model != config.model:
        raise ValueError(
            f"start_from: {run} is a run of {earlier_config.model}, not of {config.model}"
        )
    try:
        if _has_same_values(earlier_config.data, config.data) and (
            built_features(earlier, earlier_features) == built_features(model, features)
        ):
            return _with_weights_of(earlier, model)
        if not os.path.exists(earlier_config.data):
            raise FileNotFoundError(
                f"start_from: {run} was trained on {earlier_config.data}, which is not there: its "
                "vocabularies are needed, as those of the new data differ"
            )
        check_same_features(earlier_features, earlier_config.data)
        old, new = (FeatureSet.load_fitted(of.data) for of in (earlier_config, config))
        return transfer(earlier, old, new, lambda _: model, config.start_new_rows)
    except ValueError as error:
        differing = _differing(earlier_config.model_args, config)
        raise ValueError(f"start_from: {run}: {error}{differing}") from error


def _has_same_values(old: str, new: str) -> bool:
    """Whether ids and numbers of two folders of prepared data mean the same, if these say it.

    Vocabularies of one size may still hold other values, and numbers have other statistics.
    """
    files = ((vocabulary_file(old), vocabulary_file(new)), (numbers_file(old), numbers_file(new)))
    return all(not (a and b) or filecmp.cmp(a, b, shallow=False) for a, b in files)


def _with_weights_of(earlier: keras.Model, model: keras.Model) -> keras.Model:
    remedy = "give the model arguments of that run, or train without start_from"
    if len(earlier.weights) != len(model.weights):
        raise ValueError(
            f"its model has {len(earlier.weights)} weights, this one has {len(model.weights)}: "
            f"{remedy}"
        )
    for there, here in zip(earlier.weights, model.weights, strict=True):
        if there.shape != here.shape:
            raise ValueError(
                f"{here.path} has the shape {tuple(there.shape)} there and {tuple(here.shape)} "
                f"here: {remedy}"
            )
    model.set_weights(earlier.get_weights())
    return model


def _differing(earlier: Settings, config: TrainConfig) -> str:
    """The end of a message: the model arguments that an earlier run and this one differ in."""
    defaults = model_arguments(config.model)
    there, here = (  # as strings: a list of a settings' file is a tuple among the defaults
        {name: json.dumps(value, default=str) for name, value in {**defaults, **given}.items()}
        for given in (earlier, config.model_args)
    )
    differing = [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in here
        if there.get(name) != here[name]
    ]
    return f"; model arguments differ: {', '.join(differing)}" if differing else ""
