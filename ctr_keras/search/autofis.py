"""AutoFIS: which feature interactions a factorization model keeps."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from ctr_keras.features import FeatureSet
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search.closing import Keep
from ctr_keras.search.gates import (
    InteractionGates,
    Threshold,
    candidate_fields,
    candidate_pool,
)
from ctr_keras.search.stage import Search, Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoFISSearch(Search):
    """Trains a model with a gate for every interaction; those of the largest gates are kept.

    One stage an order. Weights learn by Adam and gates by `GRDA` from the same gradients. The
    second order starts with all pairs of fields; a higher one with what the orders below have kept,
    whose gates may still close, and all its combinations or, with `pool`, a few of them.

    Args:
        base: str. `"FM"`, `"DeepFM"` or `"IPNN"`. Defaults to `"DeepFM"`.
        order: int. The highest order of interactions, 2 to 4. Defaults to `2`.
        pool: bool. Whether orders over 2 try only the best interactions of the order below with one
            field more, as AIM does (see `candidate_pool`). Defaults to `False`: all combinations.
        top: int. How many of the order below the pool extends. Defaults to `0`: half as many as
            there are fields.
        keep: int, str or None. Which gates stay open in the end: so many of the largest; with
            `"auto"` as few of the largest as predict validation rows no worse than more of them
            would, but by noise (without validation rows, those of the prepared data or every tenth
            of the arrays); or None for those that the threshold has left, as in the paper.
            Defaults to `"auto"`.
        c: float or None. How hard GRDA's threshold presses. Defaults to `None`: it ends at 0.5,
            below the start of gates, which it so presses down and leaves to be ranked; with
            `keep=None` at 1, as in the paper's runs on Avazu.
        mu: float. How its pressure grows with the steps. Defaults to `0.8`.
        gate_learning_rate: float. Of GRDA. Defaults to `1.0`.
        gate_learning_rate_decay: float. What it is multiplied with after each round.
            Defaults to `1.0`.
        batch_size, epochs, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        bilevel, seed, jit_compile, model_args, verbose: as in `Search`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Categorical("c"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "c": 3},
    ... )
    >>> clicks = np.random.default_rng(0).integers(0, 2, (100, 1))
    >>> inputs = {"categorical": np.repeat([[2, 6, 10]], 100, axis=0)}
    >>> search = AutoFISSearch(base="FM", c=1.0, model_args={"dim": 4}, verbose=False)
    >>> search.search(features, (inputs, clicks)).interactions  # nothing to be learned here
    ()

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3.2.
    """

    base: Literal["FM", "DeepFM", "IPNN"] = "DeepFM"
    order: Literal[2, 3, 4] = 2
    pool: bool = False
    top: NonNegativeInt = 0
    keep: Keep = "auto"
    c: float | None = None
    mu: NonNegativeFloat = 0.8
    gate_learning_rate: NonNegativeFloat = 1.0
    gate_learning_rate_decay: NonNegativeFloat = 1.0

    def _plan(self, first: Stage) -> InteractionPlan:
        """The interactions that are kept, with their gates."""
        threshold = Threshold(
            self.c, self.mu, self.gate_learning_rate, self.gate_learning_rate_decay, self.keep
        )
        if self.keep == "auto":
            first = first.with_validation()
        plan = InteractionPlan.complete(candidate_fields(first.features))
        for number, order in enumerate(range(2, self.order + 1), start=1):
            if order > 2:
                higher = self._higher(first.features, plan, order)
                plan = InteractionPlan([*plan.interactions, *higher])
            if not plan.interactions:
                break  # nothing left to extend
            stage = dataclasses.replace(first, number=number)
            plan = stage.run(InteractionGates(stage, self.base, plan, plan.kinds, threshold))
        return plan

    def _higher(
        self, features: FeatureSet, plan: InteractionPlan, order: int
    ) -> Sequence[Interaction]:
        names = candidate_fields(features)
        if self.pool:
            return candidate_pool(plan, order, ["inner"], names, self.top or len(names) // 2)
        return InteractionPlan.complete(names, orders=[order]).interactions
