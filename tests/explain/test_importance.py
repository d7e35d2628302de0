"""Permutation importance: what is planted is found, and nothing else."""

import csv

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import ops

from ctr_keras.cli import main
from ctr_keras.explain.importance import permutation_importance
from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.layers import feature_inputs
from ctr_keras.metrics import auc
from tests.data.shards import write_prepared
from tests.explain.runs import FEATURES as RUN_FEATURES
from tests.explain.runs import write_run

FEATURES = FeatureSet(
    Categorical("user", group="user"),
    Numeric("price", group="item"),
    Numeric("age", group="user"),
    Categorical("weekday", column="time", time_part="weekday"),
    Categorical("hour", column="time", time_part="hour"),
    MultiValued("tags", max_length=2, group="item"),
    Sequence("history", vocabulary_of="user", max_length=2),
    Crossed("weekday", "user"),
    label=Label("click"),
    vocabulary_sizes={"user": 5, "weekday": 7, "hour": 24, "tags": 3, "weekday_x_user": 9},
)
ROWS = 2000


@pytest.fixture(scope="module")
def inputs():
    """Values of which every packed column is as informative as another."""
    draw = np.random.default_rng(0)
    packed = {
        name: draw.integers(1, 9, (ROWS, *shape)).astype("int32")
        for name, shape in FEATURES.packed_shapes.items()
    }
    return packed | {"numeric": draw.normal(size=(ROWS, 2)).astype("float32")}


def scorer(logit) -> keras.Model:
    """A model whose logit is a function of the packed inputs, of which it takes those it reads."""
    symbols = feature_inputs(FEATURES)
    read = {name: ops.cast(tensor, "float32") for name, tensor in symbols.items()}
    score = keras.layers.Activation("sigmoid")(logit(read))
    return keras.Model(symbols, score)


def importance_of(logit, inputs, **options):
    model = scorer(logit)
    scores = np.ravel(model.predict_on_batch(inputs))
    labels = (np.random.default_rng(1).random(ROWS) < scores).astype("float32")[:, None]
    found = permutation_importance(model, FEATURES, (inputs, labels), **options)
    return {importance.name: importance for importance in found}, auc(labels, scores)


def test_only_what_the_score_depends_on_is_important(inputs):
    found, base = importance_of(lambda read: 3 * read["numeric"][:, :1], inputs)
    assert next(iter(found)) == "price"
    price = found.pop("price")
    # With a price of another row, the score says nothing.
    assert price.auc_drop == pytest.approx(base - 0.5, abs=0.02)
    assert price.auc_drop_low < price.auc_drop < price.auc_drop_high
    assert price.log_loss_rise > 0.5
    assert price.log_loss_rise_low < price.log_loss_rise < price.log_loss_rise_high
    for other in found.values():
        assert other.auc_drop == other.auc_drop_high == other.log_loss_rise == 0


def test_features_of_one_column_are_permuted_together(inputs):
    inputs = {name: values.copy() for name, values in inputs.items()}
    inputs["categorical"][:, 2] = inputs["categorical"][:, 1]  # the hour is the weekday

    def difference(read):
        weekday, hour = read["categorical"][:, 1:2], read["categorical"][:, 2:3]
        return weekday - hour + read["numeric"][:, :1]

    found, _ = importance_of(difference, inputs)
    assert found["time"].features == ("weekday", "hour", "weekday_x_user")
    assert found["time"].auc_drop == 0  # both are those of one other row, so still equal
    assert found["price"].auc_drop > 0.1


@pytest.mark.parametrize("name", ["tags", "history"])
def test_a_list_stays_the_list_of_one_row(inputs, name):
    inputs = {name: values.copy() for name, values in inputs.items()}
    inputs[name][:, 1] = inputs[name][:, 0]
    found, _ = importance_of(
        lambda read: read["numeric"][:, :1] + read[name][:, :1] - read[name][:, 1:], inputs
    )
    assert found[name].auc_drop == 0
    found, base = importance_of(lambda read: read[name][:, :1] - 4.5, inputs)
    assert found[name].auc_drop == pytest.approx(base - 0.5, abs=0.02)


def test_a_cross_goes_with_its_features_and_has_a_line(inputs):
    found, base = importance_of(lambda read: read["crossed"] - 4.5, inputs)
    for name in ("user", "time", "weekday_x_user"):
        assert found[name].auc_drop == pytest.approx(base - 0.5, abs=0.03)
    assert found["weekday_x_user"].features == ("weekday_x_user",)
    assert found["history"].auc_drop == 0  # though it shares the vocabulary of `user`


def test_groups_are_permuted_together(inputs):
    found, _ = importance_of(lambda read: read["numeric"][:, 1:], inputs, by="group")
    assert {name: set(of.features) for name, of in found.items()} == {
        "user": {"user", "age", "weekday_x_user"},
        "item": {"price", "tags"},
        "time": {"weekday", "hour", "weekday_x_user"},
        "behaviors": {"history"},
        "weekday_x_user": {"weekday_x_user"},
    }
    assert found["user"].auc_drop > 0.1
    assert found["item"].auc_drop == 0


def test_it_is_the_same_again_and_another_with_another_seed(inputs):
    first, again, other = (
        importance_of(lambda read: read["numeric"][:, :1], inputs, repeats=2, seed=seed)[0]["price"]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first.auc_drop != other.auc_drop


def test_unknown_ways_are_refused(inputs):
    with pytest.raises(ValueError, match="unknown way to permute 'row'; available: feature, group"):
        importance_of(lambda read: read["crossed"], inputs, by="row")


def test_the_command_prints_and_draws(tmp_path):
    data = write_prepared(tmp_path / "data", {"test": 200}, RUN_FEATURES)
    run = write_run(tmp_path / "run", data, "FM", dim=2)
    command = ["importance", "--run", run, "--out", str(tmp_path / "out"), "--repeats", "2"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    # FM does not read the history.
    assert {line.split()[0] for line in result.output.splitlines()[1:5]} == {
        *("a", "b", "row", "genres")
    }
    with open(tmp_path / "out" / "importance.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        line.split()[0] for line in result.output.splitlines()[1:5]
    ]
    assert (tmp_path / "out" / "importance.png").read_bytes().startswith(b"\x89PNG")
