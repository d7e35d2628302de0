"""DeepLight: a deep factorization machine that is pruned as it learns, and the pairs it keeps."""

import dataclasses
import os
import re
from typing import Any, Literal

import keras
import numpy as np
from pydantic import NonNegativeFloat

from ctr_keras import metrics
from ctr_keras.models import build_model
from ctr_keras.models.interactions import BASE, table_name
from ctr_keras.optimizers import PruningOptimizer
from ctr_keras.plan import InteractionPlan
from ctr_keras.search.closing import Keep
from ctr_keras.search.gates import InteractionGates, candidate_fields
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course
from ctr_keras.settings import Fraction

PRUNED = "pruned"  # the run of the pruned model, in the search's folder
_PRUNINGS = 100  # of a stage
_REST = 0.01  # the share of the zeros that a stage does not reach
_PAIRS = table_name(BASE)
_TOWER, _TABLE = "^deep/.*kernel$", "^embedding/table$"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepLightSearch(Search):
    """Trains DeepFM with a weight for each pair of fields, and prunes it as it learns.

    The weights of pairs, the kernels of the tower and the embeddings are pruned in the same steps,
    each by its own share, the least first (see `PruningOptimizer`). The plan has the pairs that
    are left, or those of them that validation rows need. The pruned model itself, of these pairs
    and with its zeros, is a run like those of `ctr-keras train` in the folder `pruned` of the
    search, to be evaluated, exported or trained further as it is.

    Args:
        base: str. `"DeepFM"`, or `"FM"` for the same without a tower. Defaults to `"DeepFM"`.
        keep: int, str or None. Which of the pairs that pruning has left the plan has: so many of
            the largest weights; with `"auto"` as few of them as predict validation rows no worse
            than more of them would, but by noise (without validation rows, those of the prepared
            data or every tenth of the arrays); or None for all, as in the paper. Defaults to
            `"auto"`.
        pair_sparsity: float. Share of the weights of pairs that is zero in the end; the paper's is
            0.9, which leaves validation rows less to choose from. Defaults to `0.5`.
        tower_sparsity: float. The same of each hidden layer's kernel. Defaults to `0.9`.
        table_sparsity: float. The same of the embeddings. Defaults to `0.4`.
        prune_after: float. Share of the steps before the first one that prunes. Defaults to `0.2`.
        damping: float or None. How slowly zeros become more: `1 - damping^(k / 100)` of them are
            there `k` steps later. The paper's is 0.99. Defaults to `None`: 99% at the end.
        gate_learning_rate: float. Of the weights of pairs. Defaults to `0.01`.
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
    >>> search = DeepLightSearch(base="FM", keep=1, model_args={"dim": 4}, verbose=False)
    >>> len(search.search(features, (inputs, clicks)).interactions)
    1

    References:
        [DeepLight](https://arxiv.org/abs/2002.06987): its model, with plain first-order weights;
        its three prunings and their schedule. Its zeros in tower and embeddings make the model's
        file small, not a dense product fast: only pairs that are gone do that here.
    """

    base: Literal["FM", "DeepFM"] = "DeepFM"
    keep: Keep = "auto"
    pair_sparsity: Fraction = 0.5
    tower_sparsity: Fraction = 0.9
    table_sparsity: Fraction = 0.4
    prune_after: Fraction = 0.2
    damping: Fraction | None = None
    gate_learning_rate: NonNegativeFloat = 1e-2

    def _plan(self, first: Stage) -> InteractionPlan:
        """The pairs that are kept, with their weights."""
        stage = first.with_validation() if self.keep == "auto" else first
        every = InteractionPlan.complete(candidate_fields(stage.features))
        gates = _PairWeights(stage, self.base, every, [BASE], _Pruning(self), normalized=False)
        return stage.run(gates)

    def make_optimizer(
        self, model: keras.Model, round_steps: int, rounds: int, **options: Any
    ) -> keras.optimizers.Optimizer:
        """That of all weights but those of pairs, which prunes them."""
        optimizer = super().make_optimizer(model, round_steps, rounds, **options)
        shares = {_TABLE: self.table_sparsity}
        if self.base == "DeepFM":
            shares[_TOWER] = self.tower_sparsity
        return self.pruning(optimizer, shares, round_steps * rounds)

    def pruning(
        self, optimizer: keras.optimizers.Optimizer, shares: dict[str, float], steps: int
    ) -> PruningOptimizer:
        """An optimizer that prunes in so many steps, as the settings say."""
        start = int(self.prune_after * steps)
        damping = self.damping
        if damping is None:
            damping = _REST ** (100 / max(steps - start, 1))
        every = max(steps // _PRUNINGS, 1)
        return PruningOptimizer(optimizer, shares, damping=damping, start=start, every=every)


@dataclasses.dataclass(frozen=True)
class _Pruning:
    """The weights of pairs under pruning."""

    search: DeepLightSearch

    @property
    def keep(self) -> Keep:
        return self.search.keep

    def optimizer(self, stage: Stage) -> keras.optimizers.Optimizer:
        search = self.search
        adam = keras.optimizers.Adam(search.gate_learning_rate)
        return search.pruning(adam, {"gates$": search.pair_sparsity}, stage.steps)

    def hint(self, stage: Stage) -> str:
        del stage
        return "Set a smaller pair_sparsity"


@dataclasses.dataclass(frozen=True)
class _PairWeights(InteractionGates):
    """The weights of pairs in a model whose other weights are pruned as well."""

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        plan, verdict = super().conclude(model, best, course)
        zeros = _zeros(model)
        says = [*verdict.says, ", ".join(f"{zeros[part]:.0%} of {part} are zero" for part in zeros)]
        facts = {**verdict.facts, "zeros": zeros}
        if facts["kept"] == facts["open_before_closing"] < facts["gates"]:
            says.append("a smaller pair_sparsity would leave more pairs to choose from")
        self._write_run(model, plan, zeros)
        return Conclusion(plan, dataclasses.replace(verdict, says=says, facts=facts))

    def _write_run(
        self, model: keras.Model, plan: InteractionPlan, zeros: dict[str, float]
    ) -> None:
        """Writes the pruned model as a run, where the search has a folder and prepared data."""
        folder, data = self.stage.folder, self.stage.train.data
        if folder is None or data is None:
            return
        from ctr_keras.training import TrainConfig  # its room needs TensorFlow
        from ctr_keras.training.folder import finish_run, open_run

        self.stage.ready_to_score(model)
        arguments = {**self.arguments, "interactions": os.path.join(folder, "plan.json")}
        out = os.path.join(folder, PRUNED)
        config = TrainConfig(data, self.base, out, arguments)
        with open_run(config, self.stage.features) as finished:
            if finished is None:
                pruned = self._on(model, plan)
                pruned.save(os.path.join(out, "model.keras"))
                finish_run(out, {**self._validation(pruned), "zeros": zeros})

    def _on(self, model: keras.Model, plan: InteractionPlan) -> keras.Model:
        """The model without the pairs that the plan does not have."""
        small = build_model(
            self.base, self.stage.features, **{**self.arguments, "interactions": plan}
        )
        for layer in small.layers:
            if layer.name == _PAIRS:
                names = self.stage.features.field_names
                places = [self.candidates.combinations(names, *BASE).index(t) for t in layer.terms]
                layer.gates.assign(self.values(model)[places])
            elif layer.weights:
                layer.set_weights(model.get_layer(layer.name).get_weights())
        return small

    def _validation(self, model: keras.Model) -> dict[str, dict[str, float]]:
        if self.stage.validation is None:
            return {}
        labels, scores = self.stage.validation.score(model)
        loss, auc = metrics.log_loss(labels, scores), metrics.auc(labels, scores)
        return {"validation": {"log_loss": loss, "auc": auc}}


def _zeros(model: keras.Model) -> dict[str, float]:
    """The share of zeros in the parts of a model that are pruned."""
    zeros = {}
    for part, pattern in (("the tower's weights", _TOWER), ("embeddings", _TABLE)):
        found = [v for v in model.trainable_variables if re.search(pattern, v.path)]
        if found:
            values = np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in found])
            zeros[part] = float(np.mean(values == 0))
    return zeros
