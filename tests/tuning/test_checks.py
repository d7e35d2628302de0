"""What is wrong with a study before its first trial: values, models, data."""

import dataclasses

import pytest

from ctr_keras.features import FeatureSet
from ctr_keras.training import TrainConfig
from ctr_keras.tuning import Choice, Range, TuneConfig, tune
from ctr_keras.tuning import checks as checks_module
from tests.data.shards import FEATURES
from tests.explain.runs import FEATURES as GROUPED
from tests.parameters import first_of


@pytest.fixture
def given(tmp_path):
    """What a study takes in addition to what it searches."""
    data = tmp_path / "data"
    data.mkdir()
    FEATURES.save(data / "features.json")
    return {"data": str(data), "model": "DeepFM", "out": str(tmp_path / "study")}


@pytest.fixture
def space_file(tmp_path):
    return tmp_path / "space.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dim: [2, 4]\nnormalization: [batch, foo]", "line 2: normalization.*foo"),
        ("dim: [2, 4]\ndropout: {low: 0.0, high: 2.0}", "line 2: dropout.*2.0"),
        ("normalization: [foo, bar]\nhidden: [[4], [8]]", "line 1: normalization.*foo"),
        ("dtype_policy: [float32, float33]", "line 1: dtype_policy.*float33"),
    ],
)
def test_values_that_no_model_takes_are_refused_with_their_place(given, space_file, text, message):
    space_file.write_text(text)
    with pytest.raises(ValueError, match=rf"space.yaml, {message}") as caught:
        tune(TuneConfig.read(space=str(space_file), **given))
    assert "\n" not in str(caught.value)
    assert not (space_file.parent / "study").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule: [constant, exponential]", "line 1: schedule=exponential needs a learning_rate"),
        ("dim: [2, 4]\ntable_learning_rate: [0.1, 0.2]", "line 2: table_learning_rate needs a"),
    ],
)
def test_settings_that_need_others_are_refused_with_their_place(given, space_file, text, message):
    space_file.write_text(text)
    with pytest.raises(ValueError, match=rf"space.yaml, {message}"):
        TuneConfig.read(space=str(space_file), **given)


def test_values_that_need_others_of_the_space_are_tried(given, space_file, monkeypatch):
    """A rate of the tables needs an optimizer of theirs, more heads a wider embedding."""
    space_file.write_text(
        "table_optimizer: [adagrad, sgd]\ntable_learning_rate: [0.1, 0.2]\n"
        "dim: [4, 8]\nhidden: [[4], [8]]\n"
    )

    def build(name, features, dim=2, hidden=(2,), **others):
        if hidden[0] > dim:
            raise ValueError("too wide")

    monkeypatch.setattr(checks_module, "build_model", build)
    config = TuneConfig.read(space=str(space_file), **given)
    checks_module.buildable(config, FEATURES)
    narrow = dataclasses.replace(
        config, space={"dim": Choice([2, 3]), "hidden": Choice([[4], [5]])}
    )
    with pytest.raises(ValueError, match=r"hidden=\[4\]: too wide"):
        checks_module.buildable(narrow, FEATURES)


@pytest.mark.parametrize(
    ("dim", "searched", "fixed"),
    first_of([(4, (1, 2, 4), None), (3, None, 1), (6, (1, 2), None)], 2),
)
def test_values_of_a_models_own_space_that_do_not_go_with_what_is_given_are_left_out(
    dim, searched, fixed, given, capsys
):
    given["model"] = "MIAN"
    overrides = [f"dim={dim}", "hidden=[4]", "batch_size=9", "schedule=constant"]
    config = checks_module.buildable(TuneConfig.read(None, overrides, **given), GROUPED)
    assert getattr(config.space.get("heads"), "values", None) == searched
    assert config.base.model_args.get("heads") == fixed
    assert config.base.out == given["out"]
    assert "not searched: heads=8: heads=8 must divide" in capsys.readouterr().out


def test_values_of_the_users_own_space_that_do_not_go_with_what_is_given_are_refused(
    given, space_file
):
    given["model"] = "MIAN"
    overrides = ["dim=4", "hidden=[4]", "batch_size=9", "schedule=constant"]
    space_file.write_text("heads: [1, 7]\ntransformer: [pre, post]")
    own = TuneConfig.read(None, overrides, str(space_file), **given)
    with pytest.raises(ValueError, match=r"space.yaml, line 1: heads=7: heads=7 must divide"):
        checks_module.buildable(own, GROUPED)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("GBDTLR", {}, "GBDTLR needs trees"),
        ("MIAN", {}, "group"),
        ("OptInterM", {}, "OptInterM needs crossed features"),
        ("LR", {"sample_weight": "cost"}, "sample_weight=cost: the data declare none"),
        ("LR", {"group": "c", "monitor": "auc_by_group"}, "group=c: "),
    ],
)
def test_models_that_cannot_be_built_or_measured_are_refused_at_once(
    given, model, changes, message
):
    base = TrainConfig(**{**given, "model": model, **changes})
    with pytest.raises(ValueError, match=message):
        tune(TuneConfig(base, {"learning_rate": Range(1e-3, 1e-2)}))


def test_tables_are_small_whatever_the_vocabularies(given, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        checks_module, "build_model", lambda _, features: sizes.append(features.vocabulary_sizes)
    )
    large = FeatureSet(
        *FEATURES.features,
        label=FEATURES.label,
        vocabulary_sizes={"a": 10**9, "b": 1, "genres": 10**9},
    )
    base = TrainConfig(**{**given, "model": "LR"})
    checks_module.buildable(TuneConfig(base, {"learning_rate": Range(1e-3, 1e-2)}), large)
    assert sizes == [{"a": 2, "b": 1, "genres": 2}]


def test_lightgbm_is_told_where_its_settings_are_given(given):
    with pytest.raises(ValueError, match=r"networks of ctr_keras.models; .* LightGBM .* --set"):
        TuneConfig.read(**{**given, "model": "LightGBM"})
