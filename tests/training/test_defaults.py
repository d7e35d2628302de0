"""What a run takes by its model and its rows where nothing is set."""

import json

import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.models import build_model
from ctr_keras.plan import InteractionPlan
from ctr_keras.presets import IN_ORDER, PRESETS, default_preset, default_settings, find_preset
from ctr_keras.training import TrainConfig, load_run, train
from ctr_keras.training.defaults import auto_numbers, auto_penalty, auto_table_decay
from tests.data.shards import FEATURES, write_prepared


@pytest.mark.parametrize(
    ("model", "rows", "penalty", "decay"),
    [
        ("DeepFM", 8_000, 0.003, 0.97),
        ("IPNN", 100_000, 0.002, 0.97),
        ("DCNv2", 40_000_000, 5e-6, 0.97),
        ("AIM", 8_000, None, 0.97),
        ("MaskNet", 8_000, None, 0.97),
        ("AutoIntPlus", 8_000, None, 0.97),
        ("AutoInt", 8_000, None, 0.97),
        ("DIN", 8_000, None, 0.0),
        ("FM", 8_000, None, 0.0),
    ],
)
def test_towers_have_a_penalty_that_fits_the_rows_and_tables_that_forget(
    model, rows, penalty, decay
):
    assert auto_penalty(model, rows).get("net_l2") == penalty
    assert auto_table_decay(model) == decay


IN_BUCKETS = FeatureSet(
    *(Numeric(name, scale="quantiles", buckets=4) for name in ("price", "age")),
    *(Numeric("n"), Categorical("a")),
    label=Label("y"),
    vocabulary_sizes={"a": 3},
)


def test_presets_are_as_their_papers_have_them():
    lacking = [
        (model, preset)
        for model, presets in PRESETS.items()
        for preset in presets
        if preset != default_preset(model, {})
        and (
            (given := find_preset(model, preset)).get("table_decay", auto_table_decay(model))
            or (auto_penalty(model, 1000) and "net_l2" not in given)
            or (auto_numbers(model, IN_BUCKETS, {}) and given["numeric_embedding"] != "linear")
        )
    ]
    assert not lacking


@pytest.mark.parametrize(
    ("model", "features", "fields", "numbers"),
    [
        ("DeepFM", IN_BUCKETS, None, {"numeric_embedding": "ordered"}),
        ("DeepFM", IN_BUCKETS, ["price", "age", "n"], {"numeric_embedding": "ordered"}),
        ("DeepFM", IN_BUCKETS, ["price", "a"], {}),
        ("DeepFM", IN_BUCKETS, ["n", "a"], {}),
        ("DeepFM", FeatureSet(Numeric("n"), label=Label("y")), None, {}),
        ("FM", IN_BUCKETS, None, {}),
        ("LR", IN_BUCKETS, None, {}),
    ],
)
def test_networks_embed_numbers_in_buckets_in_their_order(model, features, fields, numbers):
    plan = fields and InteractionPlan([], fields=dict.fromkeys(fields, 1.0))
    given = {"interactions": plan} if plan else {}
    assert auto_numbers(model, features, given) == numbers
    build_model(model, features, **given, **numbers)  # which refuses what does nothing


def test_a_run_has_it_and_says_so(tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 200, "validation": 100, "test": 100})
    arguments = {"dim": 2, "hidden": [4]}
    out = str(tmp_path / "run")
    train(TrainConfig(data, "DeepFM", out, model_args=arguments, epochs=1))
    said = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert said["net_l2"] == 0.003
    model, _, config = load_run(out)
    assert "net_l2" not in config.model_args
    assert float(model.get_layer("deep_logit").kernel_regularizer.l2) == pytest.approx(0.003)


@pytest.mark.parametrize("model", IN_ORDER)
def test_each_of_these_networks_embeds_numbers_so_and_its_default_says_nothing_else(model):
    build_model(model, IN_BUCKETS, **auto_numbers(model, IN_BUCKETS, {}))
    assert "numeric_embedding" not in default_settings(model, {})


def test_a_run_that_starts_from_an_earlier_one_embeds_numbers_as_that_did(tmp_path):
    in_buckets = {name: Numeric(name, scale="boundaries", boundaries=[0, 1]) for name in ("a", "b")}
    kinds = [in_buckets.get(f.name, f) for f in FEATURES.features if f.name != "history"]
    features = FeatureSet(*kinds, label=FEATURES.label, vocabulary_sizes={"genres": 4})
    rows = {"train": 200, "validation": 100, "test": 100}
    data = write_prepared(tmp_path / "data", rows, features)

    def run(name, **settings):
        arguments = {"dim": 2, "hidden": [4], **settings.pop("model_args", {})}
        out = str(tmp_path / name)
        train(TrainConfig(data, "DeepFM", out, model_args=arguments, epochs=1, **settings))
        return json.loads((tmp_path / name / "metrics.json").read_text())

    assert run("first")["numeric_embedding"] == "ordered"
    assert run("second", start_from=str(tmp_path / "first"))["numeric_embedding"] == "ordered"
    assert "numeric_embedding" not in run("plain", model_args={"numeric_embedding": "linear"})
    assert "numeric_embedding" not in run("third", start_from=str(tmp_path / "plain"))
