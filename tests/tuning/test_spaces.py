"""Search spaces: one for every model, files of a user's own, what is fixed."""

import keras
import pytest

from ctr_keras.features import FeatureSet, Label, Numeric
from ctr_keras.models import MODELS, build_model, model_arguments
from ctr_keras.models.registry import ModelEntry
from ctr_keras.training import PRESETS, TrainConfig
from ctr_keras.tuning import Choice, Range, TuneConfig, model_space, read_space
from tests.models.variants import VARIANTS, features_of


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_space_of_arguments_that_it_takes(model):
    config = TuneConfig.read(data="d", model=model, out="o")
    taken = {"dim"} & model_arguments(model).keys()
    assert {"learning_rate", "batch_size", *taken} <= set(config.space)
    values = {name: of.extremes[-1] for name, of in config.space.items()}
    run = config.run_config(values, "trials", "0000", seed=0)
    assert run.learning_rate == values["learning_rate"]
    tried = values.keys() & model_arguments(model).keys()
    assert run.model_args.keys() == tried | config.base.model_args.keys()
    small = {name: [4] if name == "hidden" else of for name, of in run.model_args.items()}
    trees = {
        key: value
        for key, value in dict(VARIANTS.values())[model].items()
        if key in ("trees", "crossed")
    }
    build_model(model, features_of(model), **trees, **small)


@pytest.mark.parametrize("model", MODELS)
def test_the_first_trial_is_what_a_run_has_by_default(model):
    config = TuneConfig.read(data="d", model=model, out="o")
    own = {**model_arguments(model), **config.base.model_args}
    apart = {
        name: of.values
        for name, of in config.space.items()
        if isinstance(of, Choice) and name in own and own[name] not in map(_given, of.values)
    }
    assert not apart


def _given(value):
    return tuple(value) if isinstance(value, list) else value


def test_a_model_without_a_space_of_its_own_has_what_is_shared(monkeypatch):
    def builder(features: FeatureSet, dim: int = 4, depth: int = 1) -> keras.Model: ...

    monkeypatch.setitem(MODELS, "Mine", ModelEntry(builder, "", "", "deep"))
    shared = {"learning_rate", "batch_size", "schedule", "table_decay", "dim"}
    assert set(model_space("Mine")) == shared
    assert "heads" in model_space("AutoInt")


@pytest.mark.parametrize(
    ("model", "share"),
    [("DeepFM", "0.97"), ("FM", "0.0")],
)
def test_the_first_trial_forgets_what_a_run_does_by_default(model, share):
    space = {"table_decay": Choice((0.0, 0.5, 0.97))}
    base = TrainConfig(data="d", model=model, out="o")
    assert TuneConfig(base, space).defaults() == {"table_decay": share}


def test_the_first_trial_embeds_numbers_as_a_run_does_by_default(tmp_path):
    numbers = (Numeric(name, scale="quantiles", buckets=4) for name in ("price", "age"))
    FeatureSet(*numbers, label=Label("y")).save(tmp_path / "features.json")
    space = {"numeric_embedding": Choice(("linear", "ordered"))}
    base = TrainConfig(data=str(tmp_path), model="DeepFM", out="o")
    assert TuneConfig(base, space).defaults() == {"numeric_embedding": "ordered"}


@pytest.mark.parametrize("model", ["FM", "FFM", "FwFM", "FmFM", "HOFM", "AFM"])
def test_what_a_model_has_by_default_is_searched_from_there(model, tmp_path):
    config = TuneConfig.read(data=str(tmp_path), model=model, out="o")
    own = PRESETS[model]["default"]
    assert set(own) <= set(config.space)
    searched = {name: config.space[name] for name in own}
    assert TuneConfig(config.base, searched).defaults() == pytest.approx(own)


def test_what_is_given_is_not_searched(tmp_path):
    given = {"data": "d", "model": "DeepFM", "out": "o"}
    config = TuneConfig.read(overrides=["dim=8", "learning_rate=0.1"], **given)
    assert not {"dim", "learning_rate"} & set(config.space)
    preset = TuneConfig.read(overrides=["preset=criteo"], **given)
    assert not set(PRESETS["DeepFM"]["criteo"]) & set(preset.space)
    assert "embedding_l2" in preset.space
    file = tmp_path / "run.yaml"
    file.write_text("batch_size: 64\nmodel_args: {hidden: [8]}\n")
    assert not {"batch_size", "hidden"} & set(TuneConfig.read(str(file), **given).space)
    with pytest.raises(ValueError, match="nothing to search"):
        TuneConfig(config.base, {})
    file.write_text("schedule: [constant, cosine]\n")
    with pytest.raises(ValueError, match="schedule=cosine does not go with table_updates=exact"):
        TuneConfig.read(overrides=["table_updates=exact"], space=str(file), **given)


def test_a_space_of_ones_own(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "epsilon: {low: 1.0e-8, high: 1.0e-4, log: true}\n"
        "hidden: [[8], [8, 8]]\n"
        "epochs: {low: 2, high: 6, step: 2}\n"
        "normalization: [batch, null]\n"
    )
    space = read_space(str(file), "DeepFM")
    assert space["epsilon"] == Range(1e-8, 1e-4, log=True)
    assert space["hidden"] == Choice([[8], [8, 8]])
    assert space["hidden"].value(space["hidden"].distribution().choices[1]) == [8, 8]
    assert space["normalization"].value("null") is None
    assert space["epochs"].distribution().step == 2
    assert set(TuneConfig.read(space=str(file), data="d", model="DeepFM", out="o").space) == set(
        space
    )


def test_steps_lead_from_low_to_high_whatever_binary_numbers_make_of_them():
    steps = Range(0.1, 0.7, step=0.2).distribution()
    assert (steps.low, steps.high, steps.step) == (0.1, 0.7, 0.2)
    assert Range(2, 8, step=2.0).distribution().step == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: [1, 2]", ", line 1: 'lr' cannot be searched; "),
        ("dims: [1, 2]", ", line 1: 'dims' cannot be searched; did you mean 'dim'?"),
        ("seed: [1, 2]", ", line 1: 'seed' cannot be searched: it is the same in all trials"),
        ("monitor: [auc, log_loss]", ", line 1: 'monitor' .*: it decides what is measured"),
        ("sample_weight: ['', cost]", ", line 1: 'sample_weight' .*: it decides what is measured"),
        ("dim: [2, 4]\ngroup: [a, b]", ", line 2: 'group' .*: it decides what is measured"),
        ("calibrate: [true, false]", ", line 1: 'calibrate' .*: it decides what is measured"),
        ("jit_compile: [true, false]", ", line 1: 'jit_compile' .*: it changes nothing"),
        ("\ndim: {low: 0.5, high: 2.5}", ", line 2: dim must be an integer, got 0.5"),
        ("dim: {low: 4, high: 2}", ", line 1: low must be below high, got 4 and 2"),
        ("learning_rate: {low: 0, high: 1, log: true}", ", line 1: log needs a positive low"),
        ("learning_rate: {low: 0.1, high: .inf}", ", line 1: low and high must be finite"),
        (
            "dim: {low: 2,\n high: 8,\n step: 1.5}",
            ", line 3: .* whole step, .* 2.0 and 8.0",
        ),
        ("dim: {low: 2, high: 8, step: 0.5}", ", line 1: .* whole step, got 0.5"),
        ("dim: {low: 2, high: 8, step: 0}", ", line 1: step must be positive, got 0"),
        ("dim: {low: 2, high: 8, step: 4}", ", line 1: high is not a .* above low: the last is 6"),
        ("dropout: {low: 0.0,\n high: 0.5,\n step: 0.2}", ", line 2: high is .* the last is 0.4"),
        ("", ": there is nothing to search: the file is empty"),
        ("dim: {low: 4, hgh: 8}", ", line 1: unknown setting 'hgh'; did you mean 'high'?"),
        ("dim: [4]", ", line 1: a choice needs two or more different values"),
        ("dim: [4, 4]", ", line 1: a choice needs two or more different values"),
        ("dim: 4", ", line 1: dim must be a list, got 4"),
        ("batch_size: [128, 0]", ", line 1: batch_size must be at least 1 or 'auto', got 0"),
        ("hidden: [[8], [x]]", ", line 1: hidden.* must be an integer, got 'x'"),
    ],
)
def test_wrong_spaces_are_refused_with_their_place(tmp_path, text, message):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"space.yaml{message}"):
        read_space(str(file), "DeepFM")
