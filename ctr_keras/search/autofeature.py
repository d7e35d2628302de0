"""AutoFeature: which fields interact, and by which operations each pair of them does."""

import dataclasses
import datetime
import itertools
import json
import os
import time
from typing import Annotated, ClassVar

import keras
import numpy as np
import pydantic

from ctr_keras import metrics
from ctr_keras.models import build_model
from ctr_keras.optimizers import RoutedOptimizer
from ctr_keras.plan import Cell, InteractionPlan
from ctr_keras.runs import jit_setting, write_table, write_whole
from ctr_keras.search.closing import predicted
from ctr_keras.search.gates import candidate_fields
from ctr_keras.search.naive_bayes import Region, best_region
from ctr_keras.search.stage import Search, Stage
from ctr_keras.search.structures import Structures
from ctr_keras.search.verdict import of_structures
from ctr_keras.settings import Count, Fraction, SettingError
from ctr_keras.types import Array

_ROWS = 50_000  # of validation, at most, to score a structure by
_LEAST = 4  # structures in a leaf of the tree
_TRIES = 20  # children that are drawn for one that is new and in the best leaf


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoFeatureSearch(Search):
    """Trains structures for a short while: random ones, then children of those in the best region.

    A structure gives each pair of fields a cell of a few operations, or none (see `Structures`). A
    tree of Naive Bayes classifiers, grown anew on all structures that were trained so far, parts
    the space into better and worse regions. Two structures of the best one are crossed pair by
    pair, and some cells of the child are drawn anew; it is trained if it is new and in that region.
    The plan has the cells of the structure of the least validation loss.

    Args:
        structures: int. How many are trained in all. Defaults to `40`.
        random_structures: int. How many of them are random, the first ones. Defaults to `16`.
        blocks: int. In a cell, at most, up to 4. Defaults to `2`.
        mutation: float. The share of a child's pairs whose cells are drawn anew. Defaults to
            `0.05`.
        batch_size, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        epochs: int or str. Passes over the training rows for a structure, which ends before where
            the validation loss rises. Defaults to `"auto"`: as in `Search`.
        rounds: int. Parts of an epoch, after each of which the learning rate may fall. Defaults to
            `5`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        bilevel: bool. There is no such search here. Defaults to `False`.
        seed, jit_compile, model_args, verbose: as in `Search`; `model_args` are those of
            `AutoFeature`.

    Raises:
        ValueError: for more random structures than structures, or a bi-level search.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> draw = np.random.default_rng(0)
    >>> inputs = {"categorical": draw.integers((2, 6), (5, 9), (100, 2))}
    >>> few = {"structures": 2, "random_structures": 1, "epochs": 1, "verbose": False}
    >>> search = AutoFeatureSearch(**few, model_args={"hidden": [4]})
    >>> plan = search.search(features, (inputs, draw.integers(0, 2, (100, 1))))
    >>> [cell.fields for cell in plan.cells]
    [('a', 'b')]

    References:
        AutoFeature: Khawar et al., CIKM 2020. Its idea is known here from what others say of it:
        from which leaf of the tree structures come, how, and how long they are trained, are ours.
    """

    base: ClassVar = "AutoFeature"
    structures: Count = 40
    random_structures: Count = 16
    blocks: Annotated[Count, pydantic.Field(le=4)] = 2
    mutation: Fraction = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.random_structures > self.structures:
            raise SettingError(
                f"random_structures must be at most structures={self.structures}, got "
                f"{self.random_structures}",
                "random_structures",
            )
        if self.bilevel:
            raise SettingError("autofeature has no gates to learn: set bilevel=false", "bilevel")

    def _plan(self, first: Stage) -> InteractionPlan:
        """The cells of the best structure."""
        return _Evolution(self, first.with_validation()).run()


class _Evolution:
    """The structures that were trained so far, and the next one."""

    def __init__(self, search: AutoFeatureSearch, stage: Stage) -> None:
        self._search, self._stage = search, stage
        self._features = stage.features.without_crossed()
        self._pairs = [*itertools.combinations(candidate_fields(stage.features), 2)]
        self._space = Structures(len(self._pairs), search.blocks)
        self._trained: list[Array] = []
        self._losses: list[float] = []

    def run(self) -> InteractionPlan:
        self._restore()
        began, restored = time.monotonic(), len(self._losses)
        while len(self._losses) < self._search.structures:
            structure = self._next()
            self._losses.append(self._log_loss(structure))
            self._trained.append(structure)
            self._save()
            seconds = (time.monotonic() - began) / (len(self._losses) - restored)
            self._tell_progress(seconds * (self._search.structures - len(self._losses)))
        plan = self._plan(self._trained[int(np.argmin(self._losses))])
        stage, count = self._stage, self._search.random_structures
        stage.tell(of_structures(stage.number, plan, self._losses, count, len(self._pairs)))
        return plan

    def _next(self) -> Array:
        """The next structure to train, decided by its number and those before it."""
        number = len(self._losses)
        draw = np.random.default_rng([self._search.seed, number])
        if number < self._search.random_structures:
            return self._space.drawn(draw)
        region = self._best()
        for _ in range(_TRIES):
            one, other = draw.choice(region.rows, 2)
            parents = self._trained[one], self._trained[other]
            child = self._space.child(parents, self._search.mutation, draw)
            is_new = not any(np.array_equal(child, trained) for trained in self._trained)
            if is_new and region.holds(child.ravel()):
                break
        return child

    def _best(self) -> Region:
        genes = np.array([structure.ravel() for structure in self._trained])
        choices = np.tile(self._space.choices, len(self._pairs))
        return best_region(genes, np.array(self._losses), choices, _LEAST)

    def _log_loss(self, structure: Array) -> float:
        """The least validation log loss of a model that is trained for a short while."""
        search, stage = self._search, self._stage
        assert stage.validation is not None  # the stage was given some
        keras.utils.set_random_seed(search.seed)  # all begin alike
        plan = self._plan(structure)
        model = build_model(search.base, self._features, interactions=plan, **search.model_args)
        weights = search.make_optimizer(model, stage.round_steps, stage.rounds)
        model.compile(
            RoutedOptimizer(weights, {}),
            loss=search.make_loss(self._features.label.negatives_kept),
            jit_compile=jit_setting(search.jit_compile),
        )
        inputs = stage.validation.inputs_of(model, _ROWS)
        labels, least = stage.validation.arrays(_ROWS)[1], np.inf
        for epoch in range(stage.epochs):
            batches = stage.train.stream(
                model, stage.batch_size, search.seed, epoch * stage.epoch_steps
            )
            model.fit(batches, steps_per_epoch=stage.epoch_steps, verbose=0, shuffle=False)
            stage.ready_to_score(model)
            loss = metrics.log_loss(labels, predicted(model, inputs))
            if loss >= least:
                break
            least = loss
        return float(least)

    def _plan(self, structure: Array) -> InteractionPlan:
        """Its cells; each gate is the share of the best region in which the pair has one."""
        shares = np.ones(len(self._pairs))
        if len(self._losses) > self._search.random_structures:
            best = np.array([self._trained[row] for row in self._best().rows])
            shares = (best[:, :, 0] > 0).mean(axis=0)
        cells = self._space.cells(structure)
        return InteractionPlan(
            [], cells=[Cell(self._pairs[at], cells[at], shares[at]) for at in cells]
        )

    def _restore(self) -> None:
        """What a search that was killed has trained."""
        if self._state and os.path.exists(self._state):
            with open(self._state, encoding="utf-8") as file:
                state = json.load(file)
            self._trained = [np.array(structure) for structure in state["structures"]]
            self._losses = state["losses"]

    @property
    def _state(self) -> str | None:
        folder = self._stage.folder
        return folder and os.path.join(folder, "checkpoints", "structures.json")

    def _save(self) -> None:
        """Keeps what was trained, and shows it in `history.csv`."""
        if self._stage.folder is None or self._state is None:
            return
        os.makedirs(os.path.dirname(self._state), exist_ok=True)
        structures = [structure.tolist() for structure in self._trained]
        text = json.dumps({"structures": structures, "losses": self._losses})
        write_whole(self._state, lambda file: file.write(text))
        rows = [
            {
                "structure": number,
                "drawn": "at random" if number <= self._search.random_structures else "by the tree",
                "cells": len(self._space.cells(structure)),
                "validation_log_loss": loss,
            }
            for number, (structure, loss) in enumerate(
                zip(self._trained, self._losses, strict=True), start=1
            )
        ]
        write_table(os.path.join(self._stage.folder, "history.csv"), rows)

    def _tell_progress(self, seconds: float) -> None:
        if self._search.verbose:
            left = datetime.timedelta(seconds=round(seconds))
            print(
                f"structure {len(self._losses)} of {self._search.structures}: "
                f"{len(self._space.cells(self._trained[-1]))} cells, validation log loss "
                f"{self._losses[-1]:.5f}, the least so far {min(self._losses):.5f}, {left} left",
                flush=True,
            )
