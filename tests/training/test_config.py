"""TrainConfig: where settings come from, and what is refused."""

import pytest
import yaml

from ctr_keras.runs import write_settings
from ctr_keras.training import TrainConfig

GIVEN = {"data": "d", "model": "AutoInt", "out": "r"}


def write(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return str(path)


def test_later_sources_win(tmp_path):
    path = write(tmp_path, "epochs: 3\nseed: 5\nbatch_size: 7\n")
    config = TrainConfig.read(path, ["epochs=4"], **GIVEN, seed=6)
    assert (config.epochs, config.seed, config.batch_size) == (4, 6, 7)
    assert config.patience == TrainConfig(**GIVEN).patience


def test_values_are_yaml():
    overrides = ["learning_rate=1.0e-2", "jit_compile=false", "hidden=[8, 4]", "variant=official"]
    config = TrainConfig.read(None, overrides, data="d", model="AutoIntPlus", out="r")
    assert config.learning_rate == 0.01
    assert config.jit_compile is False
    assert config.model_args == {"hidden": [8, 4], "variant": "official"}


def test_model_arguments_need_no_prefix(tmp_path):
    path = write(tmp_path, "layers: 2\nmodel_args: {heads: 4, head_dim: 8}\n")
    config = TrainConfig.read(path, ["head_dim=16"], **GIVEN)
    assert config.model_args == {"heads": 4, "head_dim": 16, "layers": 2, "variant": "official"}


def test_settings_survive_yaml(tmp_path):
    model_args = {"hidden": (8, 4), "variant": "official"}
    config = TrainConfig(**GIVEN | {"model": "AutoIntPlus"}, model_args=model_args, epsilon=1e-8)
    path = write(tmp_path, yaml.safe_dump(config.to_dict()))
    assert TrainConfig.read(path).to_dict() == config.to_dict()


EARLIER_RUN = """\
batch_size: 2000
data: d
epochs: 1
epsilon: 1.0e-08
jit_compile: false
learning_rate: 1
model: DeepFM
model_args:
  dim: 20
  hidden:
  - 700
  norm_order: unscaled
out: r
start_from: ''
table_updates: exact
versions:
  backend: tensorflow
  ctr-keras: 0.1.0
"""


def test_the_settings_of_an_earlier_run_are_read(tmp_path):
    config = TrainConfig.read(write(tmp_path, EARLIER_RUN))
    assert (config.epsilon, config.learning_rate, config.jit_compile) == (1e-8, 1.0, False)
    assert config.model_args == {"dim": 20, "hidden": [700], "norm_order": "unscaled"}
    written = yaml.safe_load(EARLIER_RUN.partition("versions:")[0])
    assert {key: config.to_dict()[key] for key in written} == written


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch=3"], "--set epoch=3: unknown setting 'epoch'; did you mean 'epochs'"),
        (["x=3"], "unknown setting 'x'; available: data, model, out, .*epochs.* heads"),
        (["hidden=[3]"], "unknown setting 'hidden'"),  # AutoIntPlus' argument, not AutoInt's
        (["model_args={depth: 3}"], "AutoInt has no argument 'depth'; available: dim, layers"),
        (["model_args=3"], "--set model_args=3: expected keys and values, got 3"),
        (["model_args=3", "preset=criteo"], "--set model_args=3: expected keys and values, got 3"),
        (["model_args=3", "heads=4"], "--set model_args=3: expected keys and values, got 3"),
        (["model=AutoFish"], "--set model=AutoFish: unknown model 'AutoFish'; .*AutoInt"),
        (["preset=kdd"], "--set preset=kdd: AutoInt has no preset 'kdd'; did you mean 'kdd12'"),
        (["epochs"], "expected key=value, got 'epochs'"),
        (["epochs=[1"], r"--set epochs=\[1: expected ',' or '\]'"),
        (["epochs=many"], "--set epochs=many: epochs must be an integer, got 'many'"),
        (["epochs=true"], "epochs must be an integer, got True"),
        (["batch_size=0"], "batch_size must be at least 1 or 'auto', got 0"),
        (["learning_rate=-1"], "learning_rate must be at least 0, got -1"),
        (
            ["jit_compile=yes please"],
            "jit_compile must be true or false or 'auto', got 'yes please'",
        ),
        (["table_updates=all"], "table_updates must be 'lazy', 'exact' or 'dense', got 'all'"),
        (["data=null"], "--set data=null: data is empty"),
        (["optimiser=adam"], "unknown setting 'optimiser'; did you mean 'optimizer'"),
        (["optimizer=adamm"], "--set optimizer=adamm: optimizer must be 'adam', .* got 'adamm'"),
        (["schedule=exponential"], "--set schedule=exponential: .* needs a learning_rate_decay"),
        (["averaging=1"], "averaging must be below 1 or 'auto', got 1"),
        (
            ["averaging=0.9", "table_updates=exact"],
            "--set averaging=0.9: averaging does not go with table_updates=exact",
        ),
        (["dtype_policy=foo"], "--set dtype_policy=foo: .* policy of Keras, .* got 'foo'$"),
        (["seed=4294967296"], "seed must be at most 4294967295, got 4294967296"),
        (["callbacks=[tensorbord]"], "unknown callback 'tensorbord'; did you mean 'tensorboard'"),
    ],
)
def test_mistakes_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.read(None, overrides, **GIVEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nlerning_rate: 1.0\n", "line 2: unknown setting 'lerning_rate'; did you mean"),
        (
            "# a comment\n\nbatch_size: big\n",
            "line 3: batch_size must be an integer or 'auto', got 'big'",
        ),
        ("model_args:\n  heads: 2\n  depth: 3\n", "line 3: AutoInt has no argument 'depth'"),
        ("epochs: 3\n  seed: 2\n", "line 2, column 7: mapping values are not allowed here"),
        ("epochs: \0\n", ": unacceptable character"),
    ],
)
def test_mistakes_are_located(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        TrainConfig.read(path, **GIVEN)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_what_is_given_is_not_blamed_on_the_file(tmp_path):
    path = write(tmp_path, "epochs: 3\n")
    with pytest.raises(ValueError, match=r"^epochs must be an integer, got 'x'$"):
        TrainConfig.read(path, **GIVEN, epochs="x")
    with pytest.raises(ValueError, match=r"^--set epochs=0: epochs must be at least 1"):
        TrainConfig.read(path, ["epochs=0"], **GIVEN)


def test_a_file_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected keys and values"):
        TrainConfig.read(write(tmp_path, "- epochs\n"), **GIVEN)


@pytest.mark.parametrize(
    ("line", "overrides", "message"),
    [
        ("dim: wide", [], "run.yaml, line 2: dim must be an integer, got 'wide'"),
        ("model_args: {heads: 0.5}", [], "run.yaml, line 2: heads must be an integer, got 0.5"),
        ("epochs: 1", ["dim=wide"], "--set dim=wide: dim must be an integer, got 'wide'"),
    ],
)
def test_wrong_types_of_a_models_arguments_are_named(line, overrides, message, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"model: AutoInt\n{line}\n")
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        TrainConfig.read(str(path), overrides, data="d", out="o")
    assert str(error.value).removeprefix(f"{tmp_path}/") == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("linear_l2: -1", "linear_l2 must be at least 0, got -1"),
        ("embedding_l2: -0.5", "embedding_l2 must be at least 0, got -0.5"),
        ("net_l2: -1", "net_l2 must be at least 0, got -1"),
        ("dim: 0", "dim must be at least 1, got 0"),
        ("dropout: 1.5", "dropout must be below 1, got 1.5"),
        ("hidden: 0", "hidden must be a list, got 0"),
        ("hidden: []", "hidden must be a non-empty list, got []"),
        ("hidden: [0]", "hidden[0] must be at least 1, got 0"),
        (
            "kernel_initializer: foo",
            "kernel_initializer must be an initializer of Keras, such as 'glorot_uniform', "
            "got 'foo'",
        ),
        (
            "embeddings_initializer: foo",
            "embeddings_initializer must be an initializer of Keras, such as 'glorot_uniform', "
            "or a standard deviation, got 'foo'",
        ),
    ],
)
def test_wrong_values_of_a_models_arguments_are_located(line, message, tmp_path):
    path = write(tmp_path, f"model: DeepFM\n{line}\n")
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        TrainConfig.read(path, data="d", out="o")
    assert str(error.value) == f"{path}, line 2: {message}"


@pytest.mark.parametrize("value", [None, 0.01, "zeros", {"class_name": "Zeros", "config": {}}])
def test_initializers_are_any_that_keras_takes(value):
    given = {**GIVEN, "model": "DeepFM", "model_args": {"embeddings_initializer": value}}
    assert TrainConfig(**given).model_args == {"embeddings_initializer": value}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], 0.99),
        (["averaging=0"], 0.0),
        (["averaging=0.9"], 0.9),
        (["table_updates=exact"], 0.0),
        (["table_updates=dense"], 0.99),
    ],
)
def test_weights_are_averaged_where_they_can_be(overrides, expected):
    config = TrainConfig.read(None, overrides, data="d", model="FM", out="o")
    assert config.momentum_of_averages == expected


def test_a_runs_own_file_is_taken_as_it_is(tmp_path):
    config = TrainConfig("d", "FM", "o", model_args={"dim": 2})  # without FM's dropout
    path = tmp_path / "config.yaml"
    write_settings(str(path), config.to_dict())
    assert TrainConfig.read(str(path)) == config
    assert TrainConfig.read(str(path), ["dropout=0.1"]).model_args == {"dim": 2, "dropout": 0.1}


@pytest.mark.parametrize(
    ("model", "overrides", "expected"),
    [
        ("LR", [], 0.01),
        ("LR", ["learning_rate=0.5"], 0.5),
        ("LR", ["preset=optinter-criteo"], 0.0005),
        ("FM", [], 0.003),
        ("FFM", [], 0.003),
        ("FM", ["preset=null"], 0.001),
        ("FM", ["interactions=plan.json"], 0.001),
        ("FM", ["model_args={interactions: plan.json}"], 0.001),
        ("DeepFM", [], 0.001),
    ],
)
def test_a_model_starts_from_its_own_defaults_where_no_preset_is_named(model, overrides, expected):
    config = TrainConfig.read(None, overrides, data="d", model=model, out="o")
    assert config.learning_rate == expected
