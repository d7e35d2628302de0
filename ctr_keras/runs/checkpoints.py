"""The last checkpoint of a run, from which it goes on after a kill."""

import json
import os
import shutil
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from ctr_keras.types import Variable

State: TypeAlias = dict[str, Any]  # for JSON


class Checkpoints:
    """The last checkpoint of a run: a folder named by its number.

    It holds all that the rest of the run depends on. Its renaming is the one moment that counts:
    before it, a killed run goes on from the last checkpoint, after it from this one.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def last(self) -> str | None:
        """The folder of the last checkpoint. Its state is what comes last where files are copied
        one by one: without it, it is not whole."""
        names = os.listdir(self.folder) if os.path.exists(self.folder) else []
        wholes = (os.path.exists(os.path.join(self.folder, name, "state.json")) for name in names)
        whole = [name for name, is_whole in zip(names, wholes, strict=True) if is_whole]
        numbers = [int(name) for name in whole if name.isdigit()]
        return os.path.join(self.folder, str(max(numbers))) if numbers else None

    def restore(self) -> tuple[keras.Model, State] | None:
        """The compiled model of the last checkpoint and its state, if there is one."""
        if self.last is None:
            return None
        with open(os.path.join(self.last, "state.json"), encoding="utf-8") as file:
            state = json.load(file)
        model = keras.saving.load_model(os.path.join(self.last, "model.keras"))
        for seed, value in zip(_random_seeds(model), state.pop("random_seeds"), strict=True):
            seed.assign(value)
        return model, state

    def save(self, number: int, model: keras.Model, complete: Callable[[str], State]) -> None:
        """Replaces the last checkpoint, of which files that are not written anew are carried over.

        `complete` is given the unfinished folder, to add files of its own, and returns the state.
        """
        new, last = os.path.join(self.folder, "new"), self.last
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        model.save(os.path.join(new, "model.keras"))
        state = complete(new)
        seeds = [keras.ops.convert_to_numpy(seed).tolist() for seed in _random_seeds(model)]
        with open(os.path.join(new, "state.json"), "w", encoding="utf-8") as file:
            json.dump({**state, "random_seeds": seeds}, file)
        if last is not None:
            for name in set(os.listdir(last)) - set(os.listdir(new)):
                shutil.copyfile(os.path.join(last, name), os.path.join(new, name))
        os.rename(new, os.path.join(self.folder, str(number)))
        if last is not None:
            shutil.rmtree(last)

    def remove(self) -> None:
        """Removes all of it, once the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _random_seeds(model: keras.Model) -> list[Variable]:
    """The states of a model's random generators, which Keras does not save with it."""
    variables = model.non_trainable_variables
    return [v for v in variables if v.path.endswith("seed_generator_state")]
