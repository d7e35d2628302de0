"""`transfer`: a grown, changed or shrunk vocabulary leaves the scores of values as they were."""

import functools

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Numeric
from ctr_keras.layers import FieldEmbedding, RowTrainer, feature_inputs
from ctr_keras.models import build_model, transfer
from ctr_keras.models.base import CTRModel
from ctr_keras.optimizers import SparseAdam
from ctr_keras.trees import Tree, Trees
from ctr_keras.trees.columns import column_names
from tests.models.variants import FEATURES, VARIANTS, each_way
from tests.packed import FEW_STEPS, called, inputs_of

ROWS = 60
BY_FIELD = ("FM", "DeepFM", "FNN", "AutoInt", "AutoIntPlus")  # may change columns


def log(users: str, items: str, seed: int = 0, rows: int = ROWS) -> dict[str, list]:
    """Raw rows of `FEATURES`, with single letters as values; the first are the most frequent."""
    draw = np.random.default_rng(seed)

    def column(letters: str) -> list[str]:
        weights = np.arange(len(letters), 0, -1.0)
        return draw.choice(list(letters), rows, p=weights / weights.sum()).tolist()

    return {
        "user": column(users),
        "age": column("yo"),
        "item": column(items),
        "hour": column("mn"),
        "price": draw.normal(size=rows).tolist(),
        "genres": ["|".join(pair) for pair in zip(column("rst"), column("rst"), strict=True)],
        "history": [" ".join(column(items)[: n % 6]) for n in range(rows)],
    }


ON_TREES = ("GBDTLR", "GBDTFFM")
BY_IDS = ("SIM-hard",)  # to which all values are the same that share an OOV id
FUNNELS = ("ESMM",)  # which the one label of the logs does not do for
TRANSFERABLE = [variant for variant in VARIANTS if variant not in (*ON_TREES, *BY_IDS, *FUNNELS)]
OLD_LOG, NEW_LOG = log("abcd", "pqr"), log("xcbaz", "wrqps", seed=1)
OLD, NEW = FEATURES.fit(OLD_LOG), FEATURES.fit(NEW_LOG)  # user d has left; x and z, w and s are new


def old_model(variant: str, features: FeatureSet = OLD) -> keras.Model:
    """A variant whose weights, those of normalizations included, are all of a size that matters."""
    name, arguments = VARIANTS[variant]
    return scrambled(build_model(name, features, **arguments))


def scrambled(model: keras.Model) -> keras.Model:
    draw = np.random.default_rng(2)
    for weight in model.weights:
        if "float" in keras.backend.standardize_dtype(weight.dtype):
            weight.assign(draw.normal(scale=0.4, size=weight.shape))
        if "moving_variance" in weight.path:
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))
    return model


def scores(model: keras.Model, features: FeatureSet, rows: dict[str, list]) -> np.ndarray:
    inputs = inputs_of(model, features.pack(rows))
    return called(model, inputs)[:, 0]


def assert_scores_equal(model, features, other, other_features, rows, other_rows=None):
    expected = scores(model, features, rows)
    assert np.ptp(expected) > 1e-4
    actual = scores(other, other_features, other_rows or rows)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


def test_the_vocabularies_of_this_test_change_as_they_should():
    old, new = (features.statistics.values for features in (OLD, NEW))
    assert set(old["user"]) == set("abcd")
    assert set(new["user"]) == set("xcbaz")
    assert set(old["item"]) < set(new["item"])
    assert [v for v in new["item"] if v in "pqr"] != old["item"]
    assert not set(new["item_x_user"]) >= set(old["item_x_user"])


@pytest.mark.parametrize("variant", each_way(TRANSFERABLE, {"FFM", "HOFM", "SDIM"}))
def test_scores_stay_for_old_and_new_values(variant):
    model = old_model(variant)
    new_model = transfer(model, OLD, NEW)
    assert type(new_model) is type(model)
    assert new_model.name == model.name
    # All users but d, whom the new vocabulary does not have, and some that neither has.
    rows = log("abcxz?", "pqrsw?", seed=3)
    if "crossed" in [tensor.name for tensor in model.inputs]:
        rows = known_pairs(rows)
    assert_scores_equal(model, OLD, new_model, NEW, rows)


def known_pairs(rows: dict[str, list]) -> dict[str, list]:
    """Rows none of whose pairs has left a vocabulary."""
    old, new = (features.statistics.values["item_x_user"] for features in (OLD, NEW))
    left = set(old) - set(new)
    pairs = zip(rows["item"], rows["user"], strict=True)
    kept = [i for i, pair in enumerate(pairs) if "\x1f".join(pair) not in left]
    assert len(kept) > ROWS / 2
    return {name: [column[i] for i in kept] for name, column in rows.items()}


@pytest.mark.parametrize("variant", ["DeepFM", "MIAN"])
def test_a_value_that_has_left_is_out_of_vocabulary(variant):
    model = old_model(variant)
    new_model = transfer(model, OLD, NEW)
    rows = log("dd", "pqr", seed=3)
    unknown = {**rows, "user": ["never seen"] * ROWS}
    assert_scores_equal(model, OLD, new_model, NEW, unknown, rows)


@pytest.mark.backend
def test_the_new_model_trains_saves_and_is_independent_of_the_old(tmp_path):
    model = old_model("DeepFM")
    model.compile(SparseAdam(0.1), "binary_crossentropy", **FEW_STEPS)
    before = [weight.copy() for weight in model.get_weights()]
    new_model = transfer(model, OLD, NEW)
    assert not new_model.compiled
    assert isinstance(new_model, CTRModel)
    new_model.compile(SparseAdam(0.1), "binary_crossentropy", **FEW_STEPS)
    inputs = inputs_of(new_model, NEW.pack(NEW_LOG))
    new_model.fit(inputs, np.arange(ROWS)[:, None] % 2, verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)
    new_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_scores_equal(new_model, NEW, loaded, NEW, NEW_LOG)


def test_a_functional_model_of_ones_own_is_rebuilt():
    inputs = feature_inputs(OLD)
    fields, history = FieldEmbedding(OLD, 3, sequences=["history"])(inputs)
    flat = [keras.layers.Flatten()(tensor) for tensor in (fields, history)]
    score = keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate()(flat))
    model = keras.Model(inputs, score)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    rows = known_pairs(log("abcx", "pqrw", seed=3))
    assert_scores_equal(model, OLD, transfer(model, OLD, NEW), NEW, rows)


class Plain(RowTrainer, keras.Model):
    pass


class Named(RowTrainer, keras.Model):
    def __init__(self, features: FeatureSet):
        inputs = feature_inputs(features)
        flat = keras.layers.Flatten()(FieldEmbedding(features, 2, name="e")(inputs))
        super().__init__(inputs, keras.layers.Dense(1, name="d")(flat))


@pytest.mark.backend
def test_the_new_model_is_of_the_old_ones_class():
    old, new = (numbers().fit(of) for of in (OLD_NUMBERS, NEW_NUMBERS))
    named = Named(old)
    model = Plain(named.input, named.output)
    assert type(transfer(model, old, new)) is Plain
    with pytest.raises(ValueError, match="a Named is not made of inputs and outputs: pass"):
        transfer(named, old, new)
    built = transfer(named, old, new, Named)
    assert_scores_equal(named, old, built, new, OLD_NUMBERS)
    sequential = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="a Sequential is not made of inputs"):
        transfer(sequential, old, new)


def test_out_of_vocabulary_rows_and_buckets_are_carried_over_by_place():
    def declared(**sizes) -> FeatureSet:
        return FeatureSet(
            Categorical("oov", oov_buckets=sizes["oov"]),
            Categorical("hash", hash_buckets=sizes["hash"]),
            Numeric("n", scale="quantiles", buckets=sizes["n"]),
            label=Label("click"),
        ).fit({"oov": ["a"], "hash": ["a"], "n": [1]})

    old = declared(oov=2, hash=3, n=2)
    model = build_model("FNN", old, dim=1, hidden=[2])
    table = np.arange(1.0 + old.id_count)[: old.id_count, None]  # row i holds i
    model.get_layer("embedding").table.assign(table)

    def rows(**sizes) -> list[float]:
        new = declared(**sizes)
        new_model = transfer(model, old, new)
        return keras.ops.convert_to_numpy(new_model.get_layer("embedding").table)[:, 0].tolist()

    assert rows(oov=2, hash=3, n=2) == table[:, 0].tolist()
    assert rows(oov=3, hash=3, n=2) == [0, 1, 2, 1, 3, 4, 5, 6, 7, 8]
    fresh = rows(oov=1, hash=4, n=3)
    assert fresh[:3] == [0, 1, 3]
    assert max(np.abs(fresh[3:])) < 2


# Numbers keep their scale.


def numbers(**scale) -> FeatureSet:
    return FeatureSet(Categorical("u"), Numeric("p", **scale), label=Label("click"))


SCALES = [
    {"scale": "min_max"},
    {"scale": "z_score"},
    {"scale": "quantiles", "buckets": 3},
]
OLD_NUMBERS = {"u": list("abbc"), "p": [1.0, 2, 3, 4]}
NEW_NUMBERS = {"u": list("abbddce"), "p": [10.0, 20, 30, 40, 5, 6, 7]}


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale["scale"])
def test_scores_stay_where_numbers_keep_their_statistics(scale):
    old = numbers(**scale).fit(OLD_NUMBERS)
    model = old_model("FM", old)
    with pytest.raises(
        ValueError, match=r"'p' would mean something else: .*fit\(frame, numbers_of="
    ) as error:
        transfer(model, old, numbers(**scale).fit(NEW_NUMBERS))
    assert "\n" not in str(error.value)
    new = numbers(**scale).fit(NEW_NUMBERS, numbers_of=old)
    assert new.statistics.values != old.statistics.values
    assert_scores_equal(model, old, transfer(model, old, new), new, NEW_NUMBERS)


def test_declarations_that_change_what_a_number_means_are_refused():
    for old, new in [
        (numbers(), numbers(scale="log_squared")),
        (
            numbers(scale="boundaries", boundaries=[1, 2]),
            numbers(scale="boundaries", boundaries=[1, 3]),
        ),
        (numbers(**SCALES[2]), numbers(scale="boundaries", boundaries=[2, 3])),
        (numbers(**SCALES[0]), numbers(**SCALES[1])),
    ]:
        old = old.fit(OLD_NUMBERS)
        new = new.fit(NEW_NUMBERS, numbers_of=old)
        with pytest.raises(ValueError, match="'p' would mean something else"):
            transfer(old_model("FM", old), old, new)


# Crossed features that a model leaves out, or takes up.


def crossed(features: FeatureSet, *pairs: tuple[str, str]) -> FeatureSet:
    """The declared features, but with these crossed ones."""
    plain = features.without_crossed().features
    return FeatureSet(*plain, *(Crossed(*pair) for pair in pairs), label=features.label)


@pytest.mark.parametrize("pairs", [(), [("user", "hour")]], ids=["none", "another"])
@pytest.mark.parametrize("variant", ["DeepFM", "AutoDeepFM"])
def test_crossed_features_that_a_model_does_not_read_may_change(variant, pairs):
    model = old_model(variant)
    new = crossed(FEATURES, *pairs).fit(NEW_LOG)
    rows = log("abcxz?", "pqrsw?", seed=3)
    assert_scores_equal(model, OLD, transfer(model, OLD, new), new, rows)
    by_build = transfer(model, OLD, new, builder(variant))
    assert_scores_equal(model, OLD, by_build, new, rows)


@pytest.mark.parametrize("takes_up", [True, False])
def test_crossed_features_taken_up_or_dropped_are_as_missing_ones(takes_up):
    model = scrambled(build_model("FM", OLD, dim=4, crossed=not takes_up))
    build = functools.partial(build_model, "FM", dim=4, crossed=takes_up)
    new_model = transfer(model, OLD, NEW, build)
    rows = log("abcxz?", "pqrsw?", seed=3)
    old_inputs, new_inputs = (
        {**features.pack(rows), "crossed": np.zeros((ROWS, 2), "int32")} for features in (OLD, NEW)
    )
    np.testing.assert_allclose(new_model(new_inputs), model(old_inputs), 2e-5, 1e-6)


# Columns that come, go and change places.


def reordered(features: FeatureSet, *, without: str = "", extra: tuple = ()) -> FeatureSet:
    declared = [f for f in reversed(features.features) if f.name != without and f.kind != "crossed"]
    return FeatureSet(*extra, *declared, label=features.label)


STUMP = Trees(column_names(OLD), [Tree((0,), (0.0,), ((1,),), (False,), (-1,), (-2,), (1.0, -1.0))])


@pytest.mark.parametrize("variant", ON_TREES)
def test_trees_stay_with_the_ids_that_they_split_on(variant):
    model = build_model(variant, OLD, trees=STUMP, crossed=True)
    with pytest.raises(ValueError, match=r"the trees of 'leaves' split on the ids.*grow new ones"):
        transfer(model, OLD, NEW)


def test_field_aware_vectors_stay_with_the_order_of_columns():
    model = old_model("FFM", PLAIN_OLD)
    with pytest.raises(ValueError, match=r"'interactions' has a vector of each value for each"):
        transfer(model, PLAIN_OLD, reordered(PLAIN_OLD).fit(NEW_LOG), builder("FFM"))


def builder(variant: str):
    name, arguments = VARIANTS[variant]
    return functools.partial(build_model, name, **arguments)


PLAIN_OLD = reordered(OLD).fit(OLD_LOG)


@pytest.mark.parametrize("variant", BY_FIELD)
def test_scores_stay_where_columns_change_places(variant):
    model = old_model(variant, PLAIN_OLD)
    new = reordered(PLAIN_OLD).fit(NEW_LOG)
    assert new.field_names != PLAIN_OLD.field_names
    new_model = transfer(model, PLAIN_OLD, new, builder(variant))
    assert_scores_equal(model, PLAIN_OLD, new_model, new, log("abcxz?", "pqrsw?", seed=3))


@pytest.mark.parametrize("variant", ["FM", "DeepFM", "FNN"])
def test_a_column_that_is_gone_or_new_is_as_one_that_is_missing(variant):
    model = old_model(variant, PLAIN_OLD)
    extra = (Categorical("new"), Numeric("more"))
    new = reordered(PLAIN_OLD, without="age", extra=extra)
    columns = {"new": ["v"] * ROWS, "more": [1.0] * ROWS}
    new = new.fit({**NEW_LOG, **columns})
    new_model = transfer(model, PLAIN_OLD, new, builder(variant))
    rows = {**log("abcxz", "pqrsw", seed=3), "age": [""] * ROWS, "new": [""] * ROWS}
    rows["more"] = [None] * ROWS
    assert_scores_equal(model, PLAIN_OLD, new_model, new, rows)


@pytest.mark.parametrize(
    ("variant", "layer"),
    [
        ("AutoFM", r"'inner_2' \(GatedInteraction\)"),
        ("IPNN", r"'deep' \(MLP\)"),
        ("AIM", r"'inner_2' \(GatedInteraction\)"),
        ("OptInterF", r"'deep' \(MLP\)"),
        ("MIAN", r"'multi_interactive' \(MultiInteractive\)"),
    ],
)
def test_what_depends_on_columns_in_other_ways_is_refused_by_name(variant, layer):
    new = reordered(PLAIN_OLD).fit(NEW_LOG)
    model = old_model(variant, PLAIN_OLD)
    with pytest.raises(ValueError, match=f"the columns have changed, and layer {layer} depends"):
        transfer(model, PLAIN_OLD, new, builder(variant))


# What is refused.


def test_what_does_not_fit_is_refused_in_one_line():
    model = old_model("FNN")
    reversed_new = reordered(OLD).fit(NEW_LOG)
    fnn = functools.partial(build_model, "FNN", hidden=[6, 5])
    same_tower = {"dim": 4, "hidden": [6, 5], "normalization": "layer", "norm_order": "before"}
    deepfm = functools.partial(build_model, "DeepFM", **same_tower)
    for arguments, message in [
        ((model, NEW, OLD), "layer 'embedding' was built with other features than `old_features`"),
        ((model, OLD, reversed_new), "the packed columns of the two feature sets differ: pass"),
        (
            (model, OLD, NEW, functools.partial(fnn, dim=3)),
            "'embedding' is 3 wide, and the old one",
        ),
        ((model, OLD, NEW, deepfm), "the old model has no LinearLogit 'linear'"),
        ((model, OLD, FEATURES), "this feature set is not fitted: take what"),
        (
            (model, OLD, NEW, functools.partial(build_model, "FNN", dim=4, hidden=[6, 6])),
            "layer 'deep' has weights of .* and the old one of",
        ),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            transfer(*arguments)
        assert "\n" not in str(error.value)
    model.quantize("int8")
    with pytest.raises(ValueError, match="is quantized: transfer the float model, then"):
        transfer(model, OLD, NEW)


GROWN = OLD.grow(NEW_LOG)  # x and z, w and s are new, and no value has left


@pytest.mark.parametrize(
    ("variant", "new_rows"),
    [
        pytest.param("DeepFM", "oov", marks=pytest.mark.backend),
        ("DeepFM", "mean"),
        *((variant, "drawn") for variant in ("LR", "FFM", "AIM", "OptInter", "MIAN")),
    ],
)
def test_grown_vocabularies_leave_the_scores_of_old_rows_bit_for_bit(variant, new_rows):
    model = old_model(variant)
    grown = transfer(model, OLD, GROWN, new_rows=new_rows)
    np.testing.assert_array_equal(
        scores(grown, GROWN, OLD_LOG), scores(model, OLD, OLD_LOG), strict=True
    )


@pytest.mark.backend
def test_new_rows_start_from_what_is_asked_for():
    model = old_model("FM")
    old_rows = keras.ops.convert_to_numpy(model.get_layer("embedding").table)
    users = OLD.id_ranges["user"]
    new_user = GROWN.id_ranges["user"][-1]
    assert GROWN.statistics.values["user"][-1] not in OLD.statistics.values["user"]

    def row(new_rows: str) -> np.ndarray:
        grown = transfer(model, OLD, GROWN, new_rows=new_rows).get_layer("embedding")
        return keras.ops.convert_to_numpy(grown.table)[new_user]

    np.testing.assert_array_equal(row("oov"), old_rows[users.start])
    np.testing.assert_allclose(row("mean"), old_rows[users.start : users.stop].mean(axis=0), 1e-6)
    assert 0 < np.abs(row("drawn")).max() < 0.06  # six standard deviations
    with pytest.raises(ValueError, match="new_rows must be one of oov, mean, drawn"):
        row("zeros")
