"""The penalty of towers that a run takes by its rows."""

import json

import pytest

from ctr_keras.training import TrainConfig, load_run, train
from ctr_keras.training.penalties import model_arguments_of
from tests.data.shards import write_prepared


@pytest.mark.parametrize(
    ("model", "given", "rows", "expected"),
    [
        ("DeepFM", {}, 8_000, 0.003),
        ("IPNN", {}, 100_000, 0.002),
        ("IPNN", {}, 40_000_000, 5e-6),
        ("AIM", {}, 8_000, None),
        ("DeepFM", {"net_l2": 0.0}, 8_000, 0.0),
        ("AutoInt", {}, 8_000, None),
        ("FM", {}, 8_000, None),
    ],
)
def test_a_penalty_fits_the_rows_unless_it_is_set(model, given, rows, expected):
    config = TrainConfig("data", model, "run", model_args=given)
    assert model_arguments_of(config, rows).get("net_l2") == expected


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
