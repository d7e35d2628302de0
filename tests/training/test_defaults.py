"""What a run takes by its model and its rows where nothing is set."""

import json

import pytest

from ctr_keras.presets import PRESETS, default_preset
from ctr_keras.training import TrainConfig, load_run, train
from ctr_keras.training.defaults import auto_penalty, auto_table_decay
from tests.data.shards import write_prepared


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


def test_presets_are_as_their_papers_have_them():
    lacking = [
        (model, preset)
        for model, presets in PRESETS.items()
        for preset, given in presets.items()
        if preset != default_preset(model, {})
        and (
            given.get("table_decay", auto_table_decay(model))
            or (auto_penalty(model, 1000) and "net_l2" not in given)
        )
    ]
    assert not lacking


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
