"""What decides a training run."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import keras
from pydantic import NonNegativeFloat

from ctr_keras.features import FeatureSet
from ctr_keras.mirrors import address_of
from ctr_keras.models import MODELS, check_arguments, model_arguments
from ctr_keras.models.transfer import NewRows
from ctr_keras.presets import with_preset
from ctr_keras.runs import (
    LabelsLoss,
    Optimization,
    PairwiseLoss,
    check_callbacks,
    jit_setting,
    log_loss_metric,
)
from ctr_keras.settings import (
    BoolOrAuto,
    Count,
    CountOrAuto,
    FractionOrAuto,
    Seed,
    SettingError,
    Source,
    TupleOf,
    did_you_mean,
    fields_of,
    plain,
    spelled,
)
from ctr_keras.training.defaults import auto_table_decay

_AUTO_AVERAGING = 0.99


@dataclasses.dataclass(frozen=True)
class TrainConfig(Optimization):
    """Settings of a training run.

    Those that are not given have the defaults below; `read` starts from what the model has by
    default, as the commands do.

    Args:
        data: str. The folder that `ctr-keras prepare` wrote.
        model: str. A name in `ctr_keras.models.MODELS`, in any case and as papers write it.
        out: str. The run's folder.
        model_args: dict. Arguments of the model's builder. `DeepFM`, `IPNN`, `DCNv2`, `WideDeep`,
            `xDeepFM` and `FinalMLP` have a `net_l2` of 200 / rows, 0.003 at most, and networks of
            which it was measured embed two or more numbers in buckets by
            `numeric_embedding="ordered"`, unless these are among them; `metrics.json` says it.
            Defaults to none.
        batch_size: int or str. Rows in a step. Defaults to `"auto"`: 256 for a training split of up
            to 100,000 rows, and for more of them so large that a pass has 200 steps, up to 4,096.
        epochs: int. Passes over the training split, at most. Defaults to `50`.
        evaluations_per_epoch: int or str. How often in a pass to evaluate on the validation split,
            and with it to checkpoint and decide on stopping; at most after each step. Defaults to
            `"auto"`: after about 250,000 rows, from once to eight times.
        monitor: str. By what evaluations are compared, for the best model, `patience` and
            `schedule=plateau`: `"log_loss"`, `"auc"` or `"auc_by_group"`. Defaults to `"log_loss"`.
        patience: int or str. Stop after so many consecutive evaluations without a better one.
            Defaults to `"auto"`: after 500 steps, but from 5 to 20 evaluations.
        group: str. A categorical feature, such as the user, in whose groups `auc_by_group` is
            computed and `pairwise_weight` makes pairs. Rows whose value is missing or not in the
            vocabulary are in no group. Defaults to `""`: the group that the data set declares
            (`group:` in its YAML), whose values are all known.
        optimizer, learning_rate, epsilon, weight_decay, optimizer_args: as in `Optimization`.
        table_optimizer, table_learning_rate, table_optimizer_args: likewise.
        table_learning_rates, table_updates: likewise.
        schedule, learning_rate_decay, warmup_steps: likewise.
        max_gradient_norm, gradient_accumulation_steps: likewise.
        loss, focal_gamma, label_smoothing: likewise.
        pairwise_weight: float. Of a loss of pairs within a group that is added to that of rows (see
            `ctr_keras.runs.PairwiseLoss`). Pairs are those in a batch. Defaults to `0.0`: none.
        sample_weight: str. The weight that the data set declares (`weight:` in its YAML), by which
            the loss of a row is multiplied. Metrics weigh rows by it, too: those of validation,
            and so `monitor`, and those of `ctr-keras evaluate`. Defaults to `""`: none.
        labels: list of str. Those of the data set's labels that the model learns, as if there were
            no others. Defaults to `()`: all.
        label_weights: dict. Of several labels, by which their losses are multiplied before they
            are summed; a label that is not named has the weight 1. The metrics of validation that
            stand for all labels are averages by these weights. Defaults to none: the mean over
            labels.
        averaging: float or str. Momentum of moving averages of the weights, which are evaluated
            and kept instead of the weights; 0 for none, which saves a copy of the weights. The
            average starts at the weights after the first step, which are `averaging^n` of it `n`
            steps later: a run of less than some 300 steps wants 0. Defaults to `"auto"`: 0.99, the
            average of about the last 100 steps, but none with `table_updates=exact`.
        table_decay: float or str. Share of a row of its tables that a model forgets in an epoch in
            which it is read once, so that it does not learn rare values by heart; of one that is
            read more often it forgets less (see `ctr_keras.optimizers.SparseAdam`). It needs Adam
            with `table_updates=lazy`. Defaults to `"auto"`: 0.97 for networks that were measured to
            be better for it, such as `DeepFM`, if without `start_from`; none for others.
        calibrate: bool. Whether the model that is kept scales and shifts its logit, by the two
            numbers with which it predicts the validation rows best (see
            `ctr_keras.models.calibration_of`), if it ends in a sigmoid. Each evaluation finds them
            anew, and its metrics are those after it: which round is the best is about what a model
            knows, not about how sure it is. Defaults to `True`.
        callbacks: list of str. `"tensorboard"` (in the run's folder), `"mlflow"`, `"wandb"`, or
            `"module:Class"` for a class of your own below `keras.callbacks.Callback`, which is made
            without arguments. Each round, `on_epoch_end` is given the numbers of `history.csv`.
            Defaults to `()`.
        start_from: str. A finished run of the same model whose weights to start from, to train it
            further with a lower learning rate, say, or on newer data: if their vocabularies are
            others than those of the run's data, which must still be there, weights are carried over
            by value (see `ctr_keras.models.transfer`), and numbers whose statistics have changed
            are refused. Defaults to `""`: fresh weights.
        start_new_rows: str. What the table rows of values that are new since then start from:
            `"oov"`, the out-of-vocabulary row that these values had; `"mean"` of all rows of their
            vocabulary; or `"drawn"` as in a new model. Defaults to `"oov"`.
        cache: str. A folder on a local disk for decoded copies of the data, made at the first use
            and then memory-mapped. Rows come in another order than without, and so a seed gives
            another result; with `resident` it is the same. Defaults to `""`: parse the TFRecords in
            every pass.
        resident: bool or str. Whether to keep the data in memory: on JAX that of the accelerator.
            Rows come in the order of `cache`, which is another than without. Defaults to `"auto"`:
            a split of at most 512 MiB.
        seed: int. Of weights, dropout and the order of rows. Defaults to `0`.
        dtype_policy: str. Keras' policy, such as `"mixed_bfloat16"`. Defaults to `"float32"`.
        jit_compile: bool or str. Whether to compile the step with XLA. Defaults to `"auto"`: yes
            but for TensorFlow on a CPU, where it is slower.

    Raises:
        ValueError: for an unknown model or model argument, or a value of the wrong type.

    Example:

    >>> config = TrainConfig.read(None, ["dim=4", "epochs=1"], data="d", model="DeepFM", out="r")
    >>> config.model_args, config.epochs
    ({'dim': 4}, 1)
    """

    data: str
    model: str
    out: str
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: CountOrAuto = "auto"
    epochs: Count = 50
    evaluations_per_epoch: CountOrAuto = "auto"
    monitor: Literal["log_loss", "auc", "auc_by_group"] = "log_loss"
    patience: CountOrAuto = "auto"
    group: str = ""
    pairwise_weight: NonNegativeFloat = 0.0
    sample_weight: str = ""
    labels: TupleOf[str] = ()
    label_weights: Mapping[str, NonNegativeFloat] = dataclasses.field(default_factory=dict)
    averaging: FractionOrAuto = "auto"
    table_decay: FractionOrAuto = "auto"
    calibrate: bool = True
    callbacks: TupleOf[str] = ()
    start_from: str = ""
    start_new_rows: NewRows = "oov"
    cache: str = ""
    resident: BoolOrAuto = "auto"
    seed: Seed = 0
    dtype_policy: str = "float32"
    jit_compile: BoolOrAuto = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", spelled("model", self.model, MODELS))
        super().__post_init__()
        check_callbacks(self.callbacks)
        try:
            keras.dtype_policies.get(self.dtype_policy)
        except ValueError:
            raise SettingError(
                "dtype_policy must be a policy of Keras, such as 'float32' or 'mixed_bfloat16', "
                f"got {self.dtype_policy!r}",
                "dtype_policy",
            ) from None
        if self.start_new_rows != "oov" and not self.start_from:
            raise SettingError(
                f"start_new_rows={self.start_new_rows} needs start_from=RUN", "start_new_rows"
            )
        if self.momentum_of_averages and self.table_updates == "exact":
            raise SettingError(
                "averaging does not go with table_updates=exact: set table_updates=dense",
                "averaging",
            )
        if self.decay_of_tables and not self._decays:
            raise SettingError(
                "table_decay needs Adam for tables and table_updates=lazy", "table_decay"
            )
        try:
            check_arguments(self.model, self.model_args)
        except SettingError as error:
            raise SettingError(str(error), "model_args", *error.keys) from None

    @property
    def momentum_of_averages(self) -> float:
        """What `averaging` is, "auto" resolved."""
        if self.averaging != "auto":
            return self.averaging
        return 0.0 if self.table_updates == "exact" else _AUTO_AVERAGING

    @property
    def decay_of_tables(self) -> float:
        """What `table_decay` is, "auto" resolved."""
        if self.table_decay != "auto":
            return self.table_decay
        # What an earlier run has learned of values that newer data lack is not to be forgotten.
        forgets = self._decays and not self.start_from
        return auto_table_decay(self.model) if forgets else 0.0

    @property
    def _decays(self) -> bool:
        """Whether tables can forget."""
        return self._of_tables == "adam" and self.table_updates == "lazy"

    def weights_of(self, features: FeatureSet) -> list[float] | None:
        """The weights of the labels that are learned, None without `label_weights`.

        Raises:
            SettingError: for weights of other labels, or of all none.
        """
        unknown = self.label_weights.keys() - {*features.label_names}
        if unknown:
            hint = did_you_mean(min(unknown), features.label_names)
            raise SettingError(
                f"label_weights: there is no label {min(unknown)!r}{hint}", "label_weights"
            )
        weights = [float(self.label_weights.get(name, 1.0)) for name in features.label_names]
        if not any(weights):
            raise SettingError("label_weights are all 0: give one above", "label_weights")
        return weights if self.label_weights else None

    def compile(
        self, model: keras.Model, round_steps: int, rounds: int, features: FeatureSet
    ) -> None:
        """Compiles a model to be trained as the settings say.

        Args:
            model: keras.Model.
            round_steps: int. Batches in a round.
            rounds: int. Of a whole run.
            features: FeatureSet, with the labels that are learned.
        """
        negatives_kept, weights = features.label.negatives_kept, self.weights_of(features)
        momentum = self.momentum_of_averages
        options: dict[str, Any] = {"use_ema": True, "ema_momentum": momentum} if momentum else {}
        epoch_steps = round_steps * rounds / self.epochs
        options["table_decay"] = 1 - (1 - self.decay_of_tables) ** (1 / epoch_steps**1.5)
        loss = self.make_loss(negatives_kept)
        if weights:
            loss = LabelsLoss(loss, weights)
        if self.pairwise_weight:
            loss = PairwiseLoss(loss, self.pairwise_weight)
        model.compile(
            self.make_optimizer(model, round_steps, rounds, **options),
            loss=loss,
            weighted_metrics=[log_loss_metric(negatives_kept)],
            jit_compile=jit_setting(self.jit_compile),
        )

    @classmethod
    def read(
        cls, path: str | None = None, overrides: Iterable[str] = (), **given: Any
    ) -> "TrainConfig":
        """Settings from a YAML file, changed by `given` and then by `key=value` strings.

        A key that is no setting but an argument of the model goes to `model_args`. The key `preset`
        stands for a paper's settings for a data set (`ctr_keras.training.PRESETS`), which all other
        keys override. Without it, a model that has a preset `default`, and no plan, starts from it.

        Args:
            path: str or None. The YAML file. Defaults to `None`: none.
            overrides: list of str. `key=value`, the value written as in YAML. Defaults to `()`.
            **given: settings by name.

        Raises:
            ValueError: for a setting that is unknown, missing or wrong, in one line with the file
                and the line where it was written.
        """
        source = Source.read(path, overrides, given)
        source.require("data", "model", "out")
        with source.located("model"):
            model = spelled("model", source.values["model"], MODELS)
            arguments = model_arguments(model)
        source = with_preset(source, model)
        return source.with_model_args(fields_of(cls), arguments).build(cls)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as `read` takes them and YAML gives them back."""
        return {**plain(self), "data": address_of(self.data), "out": address_of(self.out)}
