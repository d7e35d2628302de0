"""AutoField keeps the fields that matter, and models are trained on these alone."""

import keras
import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.models import build_model
from ctr_keras.models.base import built_features
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search import AutoFieldSearch, RandomSelection, StatisticsSelection
from tests.data.shards import write_prepared
from tests.parameters import whole_on_jax
from tests.search.commands import run

TOWER = {"dim": 4, "hidden": [16], "normalization": None}


@pytest.mark.backend
@whole_on_jax
@pytest.mark.slow
def test_default_settings_keep_exactly_the_fields_that_matter():
    """The others say nothing, alone or together."""
    rows = {"train_rows": 20_000, "validation_rows": 5000, "test_rows": 10}
    data = planted_clicks([(0, 1), (2, 5)], fields=6, linear=0.0, noise=0.5, **rows)
    search = AutoFieldSearch(model_args=TOWER, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert set(plan.fields) == {"f0", "f1", "f2", "f5"}
    assert plan.interactions == ()


def small():
    return planted_clicks([(0, 1)], fields=3, categories=4, train_rows=400, test_rows=100)


def quick(**changes):
    settings = {"batch_size": 100, "epochs": 1, "rounds": 1, "verbose": False, "model_args": TOWER}
    return AutoFieldSearch(**settings | changes)


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_so_many_as_asked_for_are_kept_the_most_probable():
    data = small()
    two = quick(keep=2).search(data.features, data.train, data.test)
    three = quick(keep=3).search(data.features, data.train, data.test)
    assert len(two.fields) == 2
    assert three.fields.items() >= two.fields.items()
    assert min(two.fields.values()) == sorted(three.fields.values())[1]


@pytest.mark.usefixtures("eager")
def test_where_no_field_helps_the_likeliest_is_kept_and_said(capsys):
    rows = {"train_rows": 400, "test_rows": 200}
    nothing = planted_clicks([], fields=3, categories=4, linear=0.0, noise=1.0, **rows)
    search = quick(verbose=True)
    plan = search.search(nothing.features, nothing.train, nothing.test)
    likeliest = quick(keep=1).search(nothing.features, nothing.train, nothing.test)
    assert plan.fields == likeliest.fields
    said = capsys.readouterr().out
    assert "keeps 0 of 3 gates" in said
    assert "nothing was found: without any" in said
    assert "the plan has the likeliest field, as it needs one" in said


@pytest.mark.usefixtures("eager")
def test_kept_fields_that_are_likelier_dropped_are_said(capsys):
    data = small()
    plan = quick(keep=3, verbose=True).search(data.features, data.train, data.test)
    unlikely = [name for name in data.features.field_names if plan.fields[name] < 0.5]
    assert unlikely
    assert f"kept, but more likely dropped: {', '.join(unlikely)}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("eager")
def test_few_steps_make_no_field_certain():
    data = small()
    fields = quick(keep=3).search(data.features, data.train, data.test).fields
    assert all(0.4 < probability < 0.6 for probability in fields.values())


@pytest.mark.usefixtures("eager")
def test_gates_learn_from_validation_rows_unless_bilevel_is_off():
    data = small()
    swapped = (data.test[0], 1 - data.test[1])

    def probabilities(validation, **changes):
        found = quick(keep=3, gumbel_noise=False, **changes)
        return found.search(data.features, data.train, validation).fields

    assert probabilities(data.test) != probabilities(swapped)
    alike = [probabilities(rows, bilevel=False) for rows in (data.test, swapped)]
    assert alike[0] == alike[1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    rows = {"train": 200, "validation": 60, "test": 60}
    return write_prepared(tmp_path_factory.mktemp("prepared") / "data", rows)


def test_from_the_command_line_with_verdict_pictures_and_a_run(prepared, tmp_path):
    few = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "batch_size=50")
    out = tmp_path / "search"
    found = run("search", "--data", prepared, "--method", "autofield", "--out", out, *few,
                "--set", "keep=1")  # fmt: skip
    plan = InteractionPlan.load(out / "plan.json")
    (name,) = plan.fields
    assert found.stdout.split()[:5] == ["field", "gate", name, "kept", f"{plan.fields[name]:.4f}"]
    assert "keeps 1 of" in found.stderr
    pictures = run("explain", "--run", out, "--out", tmp_path / "pictures", "--other", out).stdout
    assert "rounds-1" in pictures
    assert "effects-1" in pictures
    assert "agreement" in pictures
    trained = tmp_path / "run"
    run("train", "--data", prepared, "--model", "DeepFM", "--out", trained, *few,
        "--set", f"interactions={out}/plan.json")  # fmt: skip
    assert name in run("importance", "--run", trained, "--repeats", 1).stdout


EMPTY = ({}, np.zeros((0, 1)))


@pytest.fixture
def features():
    return FeatureSet(
        *(Categorical("a"), Categorical("b"), Numeric("n"), MultiValued("m", max_length=2)),
        *(Categorical("c"), Crossed("a", "b")),
        label=Label("y"),
        vocabulary_sizes={"a": 3, "b": 4, "m": 2, "c": 5, "a_x_b": 12},
    )


def inputs_of(model, rows=5):
    """Random known ids; those of other models are the same."""
    draw = np.random.default_rng(0)
    ids = np.stack([draw.integers(low, low + 3, rows) for low in (2, 6, 14)], axis=1)
    every = {"categorical": ids, "numeric": draw.normal(size=(rows, 1)).astype("float32")}
    every["m"] = draw.integers(11, 13, (rows, 2))
    return {tensor.name: every[tensor.name] for tensor in model.inputs}


@pytest.mark.backend
@pytest.mark.parametrize("name", ["FM", "DeepFM", "IPNN", "AIM"])
def test_a_model_of_a_plan_reads_its_fields_alone(name, features):
    keras.utils.set_random_seed(0)
    tower = {} if name == "FM" else {"hidden": [30]}
    tower["embeddings_initializer"] = "glorot_uniform"
    kept = InteractionPlan([], fields={"c": 0.7, "a": 0.9})
    model = build_model(name, features, dim=2, interactions=kept, **tower)
    assert [tensor.name for tensor in model.inputs] == ["categorical"]
    assert built_features(model, features).field_names == ("a", "c")
    two = FeatureSet(
        *(Categorical("a"), Categorical("c")), label=Label("y"), vocabulary_sizes={"a": 3, "c": 5}
    )
    assert model.count_params() == build_model(name, two, dim=2, **tower).count_params()
    inputs = inputs_of(model)
    scores = model.predict(inputs, verbose=0)
    inputs["categorical"][:, 1] = 6
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), scores)
    inputs["categorical"][:, 2] = 0
    assert (model.predict(inputs, verbose=0) != scores).any()


@pytest.mark.backend
def test_a_model_of_a_plan_is_saved_with_its_fields(features, tmp_path):
    kept = InteractionPlan([Interaction(("n", "b"))], fields={"n": 0.7, "b": 0.9})
    model = build_model("FM", features, dim=2, interactions=kept)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert built_features(loaded, features).field_names == ("b", "n")
    inputs = inputs_of(model)
    np.testing.assert_allclose(loaded.predict(inputs), model.predict(inputs), rtol=1e-6)


def test_random_fields_are_as_many_and_statistics_select_none(features):
    like = InteractionPlan([], fields={"n": 0.7, "b": 0.9})
    found = RandomSelection(like=like).search(features)
    assert len(found.fields) == 2
    assert set(found.fields) < {"a", "b", "n", "m", "c"}
    with pytest.raises(ValueError, match="the plan is one of fields"):
        StatisticsSelection(like=like).search(features, EMPTY, EMPTY)


def test_models_that_read_all_fields_refuse_a_plan_of_fields(features):
    with pytest.raises(ValueError, match="the plan is one of fields"):
        build_model("OptInter", features, interactions=InteractionPlan([], fields={"a": 1.0}))
