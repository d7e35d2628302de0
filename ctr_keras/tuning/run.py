"""A study: trials drawn one after the other by any number of processes, the best trained again.

    <study>/config.yaml  journal.log     what is searched; Optuna's storage of all trials
    <study>/trials/NNNN/                 a run each, without its weights
    <study>/finalists/NNNN/seed-N/       runs of the best trials with other seeds
    <study>/best.yaml                    settings of the best of them
    <study>/summary.md  trials.csv  importance.png  trials.png

A process that works on a folder holds the lock in it until it ends, however it ends: a trial that
runs but whose lock is free was killed, and goes on after its last checkpoint.
"""

import contextlib
import fcntl
import itertools
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ctr_keras.runs import check_same_settings, write_settings
from ctr_keras.training import TrainConfig, train
from ctr_keras.training.batches import learned_labels
from ctr_keras.tuning.checks import buildable
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.report import (
    DEFAULTS,
    REASON,
    Finalist,
    describe,
    is_of_defaults,
    write_report,
)
from ctr_keras.types import Settings

_STARTS = "starts"
_LOOKS_FROM = 5  # evaluations: averages of weights lag behind at first, most of all on small logs
_MAX_STARTS = 3  # of one trial: what kills the process again and again must not go on for ever


def tune(config: TuneConfig) -> dict[str, Any]:
    """Tries settings of a model and of its training, or goes on with a study.

    Trials are runs of `ctr_keras.training.train`: the first with the settings that a run has by
    default, or those of the space that are next to them, all others drawn by Optuna's
    tree-structured Parzen estimator. They are compared by the validation split. Several processes
    may be given the same study at once, and share its trials. The same call after an interruption
    goes on with the trials that it has interrupted; with more trials than before it adds some.

    A trial that fails is recorded with its reason. The best few and the defaults are trained again
    with other seeds, whose runs in `finalists/` are what can be evaluated and exported; what is
    best in the mean over these is the best. So a search that has found nothing ends with the
    defaults. One of whose runs some fail is not chosen; the same call tries them again.

    Args:
        config: TuneConfig.

    Returns:
        The best trial, its settings, metrics of its runs with other seeds as mean and standard
        deviation by split, the monitored metric of the finalists likewise and the reasons of those
        that failed (deviations are None with one seed), the importance of each
        setting, and trials by how they ended.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds another study, naming the first setting that differs; for a
            searched value, or fixed settings, of which no model can be built; or if all trials have
            failed, or all of the best with other seeds, with a reason.

    References:
        Akiba et al., [Optuna](https://arxiv.org/abs/1907.10902).
    """
    config = buildable(config, learned_labels(config.base))
    study = _Study(config)
    while study.try_next():
        pass
    finalists = _trained_again(study)
    sign = 1 if config.minimizes else -1
    finalists.sort(key=lambda one: (bool(one.failure), 0 if one.failure else sign * one.value))
    if finalists[0].failure:
        raise ValueError(
            f"none of the {len(finalists)} best trials has ended well with other seeds: "
            f"{finalists[0].failure}"
        )
    base = config.base
    with _locked(base.out):
        best = config.run_config(study.settings(finalists[0].trial), seed=base.seed)
        write_settings(os.path.join(base.out, "best.yaml"), best.to_dict())
        return write_report(config, study.trials, finalists)


class _Study:
    """The trials of all processes, through the storage that they share."""

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._out = config.base.out
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _locked(self._out):
            self._open_folder()
            backend = JournalFileBackend(os.path.join(self._out, "journal.log"))
            self._study = optuna.create_study(
                study_name="trials",
                storage=JournalStorage(backend),
                pruner=_pruner(config.pruner),
                direction="minimize" if config.minimizes else "maximize",
                load_if_exists=True,
            )

    def _open_folder(self) -> None:
        path = os.path.join(self._out, "config.yaml")
        settings = self._config.to_dict()
        if not os.path.exists(path):
            write_settings(path, settings, self._config.base.data)
            return
        base = self._config.base
        with open(path, encoding="utf-8") as file:  # what an earlier version did not have: defaults
            defaults = TrainConfig(base.data, base.model, self._out).to_dict()
            earlier = {**defaults, **yaml.safe_load(file), "out": self._out}
        earlier.pop("versions")
        earlier, settings = _by_name(earlier), _by_name(settings)
        check_same_settings(self._out, earlier, dict.fromkeys(earlier) | settings)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials that have begun, by number."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING]

    @property
    def finalists(self) -> list[FrozenTrial]:
        """The trials to train again: the best of those that have ended, and the defaults.

        Or the best one alone, without other seeds.
        """
        ended = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        if not ended:
            reasons = [t.user_attrs[REASON] for t in self.trials if REASON in t.user_attrs]
            raise ValueError(f"none of {len(self.trials)} trials has ended well: {reasons[-1]}")
        ended.sort(key=lambda trial: trial.value or 0.0, reverse=not self._config.minimizes)
        if not self._config.seeds:
            return ended[:1]
        best, others = ended[: self._config.finalists], ended[self._config.finalists :]
        return [*best, *(trial for trial in others if is_of_defaults(trial))]

    def settings(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a trial tries."""
        return {name: of.value(trial.params[name]) for name, of in self._config.space.items()}

    def runs(self, trial: FrozenTrial) -> list[TrainConfig]:
        """The runs of a finalist."""
        first, folder = self._config.base.seed + 1, f"{trial.number:04d}"
        return [
            self._config.run_config(
                self.settings(trial), "finalists", folder, f"seed-{seed}", seed=seed
            )
            for seed in range(first, first + self._config.seeds)
        ]

    def try_next(self) -> bool:
        """Runs a trial, or waits while another process runs one; False if none is left."""
        with contextlib.ExitStack() as held:
            with _locked(self._out):
                trial = self._interrupted(held) or self._new(held)
            if trial is not None:
                self._run(trial)
                return True
        for running in self._running:
            with _locked(self._folder(running.number)):
                return True
        return False

    @property
    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _folder(self, number: int) -> str:
        return os.path.join(self._out, "trials", f"{number:04d}")

    def _interrupted(self, held: contextlib.ExitStack) -> optuna.Trial | None:
        for trial in self._running:
            is_free = held.enter_context(_locked(self._folder(trial.number), waits=False))
            # It may have ended, and released its lock, since it was found to be running.
            if is_free and trial.number in {running.number for running in self._running}:
                return optuna.Trial(self._study, trial._trial_id)
        return None

    def _new(self, held: contextlib.ExitStack) -> optuna.Trial | None:
        trials = self.trials
        count = len(trials)
        if count >= self._config.trials:
            return None
        # Each trial has a seed of its own, so that a study which goes on does not draw the first
        # ones again, nor a second process those of the first.
        seed = np.random.SeedSequence([self._config.base.seed, count]).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int(seed[0]), multivariate=True, constant_liar=True
        )
        if not any(map(is_of_defaults, trials)):  # of a study of an earlier version, not one
            self._study.enqueue_trial(
                self._config.defaults(), user_attrs={DEFAULTS: True}, skip_if_exists=True
            )
        space = {name: of.distribution() for name, of in self._config.space.items()}
        trial = self._study.ask(space)
        held.enter_context(_locked(self._folder(trial.number)))
        return trial

    def _run(self, trial: optuna.Trial) -> None:
        starts = trial.user_attrs.get(_STARTS, 0) + 1
        trial.set_user_attr(_STARTS, starts)
        folder = self._folder(trial.number)
        try:
            if trial.params.keys() != self._config.space.keys() or starts > _MAX_STARTS:
                raise RuntimeError(f"killed {starts - 1} times")
            settings = self.settings(self.trials[trial.number])
            run = self._config.run_config(
                settings, "trials", os.path.basename(folder), seed=self._config.base.seed
            )
            self._study.tell(trial.number, _reached(run, [_Reports(trial, run.monitor)]))
        except optuna.TrialPruned:
            self._study.tell(trial.number, state=TrialState.PRUNED)
        except Exception as error:  # whatever it is, other settings may do
            trial.set_user_attr(REASON, _reason(error))
            self._study.tell(trial.number, state=TrialState.FAIL)
        _remove_weights(folder)
        print(describe(self.trials[trial.number], self._config.base.monitor), flush=True)


def _by_name(settings: Settings) -> dict[str, Any]:
    """Settings with those of the space among them, so that a message names one of them."""
    others = {name: value for name, value in settings.items() if name != "space"}
    return {**others, **{f"space.{name}": of for name, of in settings.get("space", {}).items()}}


def _pruner(name: str) -> optuna.pruners.BasePruner:
    pruners: Mapping[str, optuna.pruners.BasePruner] = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_LOOKS_FROM),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "none": optuna.pruners.NopPruner(),
    }
    return pruners[name]


class _Reports(keras.callbacks.Callback):
    """Tells the study of each round, and stops a trial that is worse than others were."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        super().__init__()
        self._trial = trial
        self._monitor = monitor

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trial.report(logs[f"validation_{self._monitor}"], epoch + 1)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _train(run: TrainConfig, callbacks: Sequence[keras.callbacks.Callback] = ()) -> dict[str, Any]:
    """A run of its own in this process; what it prints goes into its folder."""
    keras.utils.clear_session()  # or names and memory of earlier models would pile up
    with (
        open(os.path.join(run.out, "log.txt"), "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        return train(run, callbacks)


def _reached(run: TrainConfig, callbacks: Sequence[keras.callbacks.Callback] = ()) -> float:
    """What a run comes to by the monitored metric."""
    value = float(_train(run, callbacks)["validation"][run.monitor])
    if not math.isfinite(value):
        raise ValueError(f"validation {run.monitor} is {value}")
    return value


def _reason(error: Exception) -> str:
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}"


def _trained_again(study: _Study) -> list[Finalist]:
    """The best trials with their runs with other seeds, of which other processes may train some."""
    trials = study.finalists
    runs = {trial.number: study.runs(trial) for trial in trials}
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    for waits in (False, True):  # those that no other process works on first
        for run in itertools.chain.from_iterable(runs.values()):
            if run.out in values or run.out in failures:
                continue
            with _locked(run.out, waits=waits) as is_ours:
                if is_ours:
                    try:
                        values[run.out] = _reached(run)
                    except Exception as error:  # whatever it is, other finalists may do
                        failures[run.out] = _reason(error)
    return [_finalist(trial, runs[trial.number], values, failures) for trial in trials]


def _finalist(
    trial: FrozenTrial,
    runs: Sequence[TrainConfig],
    values: Mapping[str, float],
    failures: Mapping[str, str],
) -> Finalist:
    folders = [run.out for run in runs]
    failed = [f"seed {run.seed}: {failures[run.out]}" for run in runs if run.out in failures]
    reached = [values[folder] for folder in folders if folder in values]
    return Finalist(trial, folders, reached, failed[0] if failed else "")


def _remove_weights(run: str) -> None:
    """What a trial has learned is only its score."""
    shutil.rmtree(os.path.join(run, "checkpoints"), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(run, "model.keras"))


@contextlib.contextmanager
def _locked(folder: str, *, waits: bool = True) -> Iterator[bool]:
    """Whether this process holds the lock in a folder, which is made where it is not there."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:  # its end releases it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
