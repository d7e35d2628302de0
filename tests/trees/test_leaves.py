"""TreeLeaves: the leaves that LightGBM gives, and those that can be told by hand."""

import json
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.models import GBDTFFM, GBDTLR
from ctr_keras.models.trees import boosted
from ctr_keras.trees import BoostingSettings, Tree, TreeLeaves, Trees, grow
from ctr_keras.trees.boosting import grow_booster, trees_of
from ctr_keras.trees.columns import column_names, column_values

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    Categorical("site", oov_buckets=2),
    Numeric("price"),
    MultiValued("tags", max_length=3),
    label=Label("click"),
    vocabulary_sizes={"site": 40, "tags": 70},
)
FIRST_TAG = FEATURES.id_ranges["tags"].start


def stump(**changes):
    """A tree of one split, by site unless changed."""
    given = {
        "columns": (0,),
        "thresholds": (0.0,),
        "categories": ((0, 31, 32, 41),),
        "missing_left": (False,),
        "left": (-1,),
        "right": (-2,),
        "leaf_values": (1.0, -1.0),
    }
    return Tree(**given | changes)


def by_number(threshold, missing_left=False):
    return stump(
        columns=(1,), thresholds=(threshold,), categories=((),), missing_left=(missing_left,)
    )


def leaves_of(trees, inputs, **options):
    layer = TreeLeaves(FEATURES, Trees(column_names(FEATURES), trees), **options)
    return keras.ops.convert_to_numpy(layer(inputs)).tolist()


def inputs(sites=(0,), prices=(0.0,), tags=((0, 0, 0),)):
    rows = max(map(len, (sites, prices, tags)))
    return {
        "categorical": np.resize(np.array(sites, "int32"), (rows, 1)),
        "numeric": np.resize(np.array(prices, "float32"), (rows, 1)),
        "tags": np.resize(np.array(tags, "int32"), (rows, 3)),
    }


def test_columns_are_places_numbers_and_values():
    values = column_values(
        FEATURES, inputs([0, 1, 42], [0.0, 2.5, np.inf], [[FIRST_TAG + 1, 0, 0]])
    )
    values = keras.ops.convert_to_numpy(values)
    assert values.shape == (3, len(column_names(FEATURES))) == (3, 2 + 64)
    np.testing.assert_array_equal(values[:, 0], [np.nan, 0, 41])
    np.testing.assert_array_equal(values[:, 1], [np.nan, 2.5, np.nan])
    np.testing.assert_array_equal(np.flatnonzero(values[0, 2:]), [1])


def test_a_weighted_value_is_a_column_of_its_weights():
    weighted = MultiValued("tags", max_length=3, weight_separator=":")
    features = FeatureSet(weighted, label=Label("click"), vocabulary_sizes={"tags": 4})
    tags = {"tags": np.int32([[2, 4, 2], [0, 0, 0]]), "tags_weights": np.float32([[3, 1, 5]] * 2)}
    values = keras.ops.convert_to_numpy(column_values(features, tags))
    np.testing.assert_array_equal(values, [[0, 5, 0, 1, 0], [0, 0, 0, 0, 0]])
    assert column_names(features)[0] == "tags weighs id 1"


def test_categories_of_a_set_go_left_and_all_others_right():
    ids = [0, 1, 2, 31, 32, 33, 34, 41, 42]
    expected = [[1] if place in (0, 31, 32, 41) else [2] for place in (np.array(ids) - 1).tolist()]
    assert leaves_of([stump()], inputs(ids)) == expected


@pytest.mark.parametrize("missing_left", [True, False])
def test_numbers_up_to_the_threshold_go_left_and_missing_ones_where_the_split_says(missing_left):
    found = leaves_of([by_number(1.5, missing_left)], inputs(prices=[-1, 1.5, 1.6, 0]))
    assert found == [[1], [1], [2], [1] if missing_left else [2]]


def test_a_threshold_between_two_floats_parts_them():
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    for threshold in np.linspace(float(low), float(high), 5)[:-1]:
        assert leaves_of([by_number(threshold)], inputs(prices=[low, high])) == [[1], [2]]
    assert leaves_of([by_number(1e300)], inputs(prices=[3e38])) == [[1]]


def test_trees_of_different_depths_go_down_together():
    chain = Tree(
        *((1, 1, 1), (1.0, 2.0, 3.0), ((), (), ()), (False, False, False)),
        *((-1, -2, -3), (1, 2, -4), (0.0, 1.0, 2.0, 3.0)),
    )
    alone = Tree((), (), (), (), (), (), (0.5,))
    found = leaves_of([alone, chain, by_number(2.0)], inputs(prices=[0.5, 1.5, 2.5, 3.5]))
    assert found == [[1, 2, 6], [1, 3, 6], [1, 4, 7], [1, 5, 7]]


def test_wrong_ids_are_marked_where_that_is_asked_for():
    wrong = inputs([1, FIRST_TAG, -3, 10**6])
    assert leaves_of([stump()], wrong, check_ids=True) == [[1], [-1], [-1], [-1]]


def test_config_and_policies_change_nothing():
    trees = Trees(column_names(FEATURES), [stump(), by_number(0.1)])
    batch = inputs([0, 1, 30], [0.1, 0.11, 0.0])
    layer = TreeLeaves(FEATURES, trees, check_ids=True, dtype="mixed_bfloat16")
    config = json.loads(json.dumps(layer.get_config()))
    again = TreeLeaves.from_config(config)
    assert again.trees == trees
    assert again.check_ids
    np.testing.assert_array_equal(again(batch), TreeLeaves(FEATURES, trees)(batch))
    assert layer(batch).shape == (3, 2)
    symbolic = layer({name: keras.Input(x.shape[1:], dtype=x.dtype) for name, x in batch.items()})
    assert (symbolic.shape, symbolic.dtype) == ((None, 2), "int32")


def test_trees_of_other_features_are_refused():
    trees = Trees(column_names(FEATURES), [stump()])
    fewer = FEATURES.with_vocabulary_sizes({"site": 39, "tags": 70})
    with pytest.raises(ValueError, match="lack: site of 42 ids; grow trees on these features"):
        TreeLeaves(fewer, trees)
    with pytest.raises(ValueError, match="grown on 1 columns, and the features have 66"):
        TreeLeaves(FEATURES, Trees(["price"], [stump()]))


def test_trees_come_back_from_their_file(tmp_path):
    trees = Trees(column_names(FEATURES), [stump(), by_number(0.1, True)])
    trees.save(tmp_path / "trees.json")
    assert Trees.load(tmp_path / "trees.json") == trees
    for path in (tmp_path / "trees.json", tmp_path):
        assert GBDTLR(FEATURES, str(path)).get_layer("leaves").trees == trees
    (tmp_path / "trees.json").write_text("{}")
    (tmp_path / "run").mkdir()
    for path, there in {"run": "run/trees.json", "nosuch": "nosuch"}.items():
        with pytest.raises(FileNotFoundError) as error:
            Trees.load(tmp_path / path)
        assert str(error.value) == (
            f"there is no {tmp_path / there}: trees are the folder of a finished run of LightGBM, "
            "or its trees.json"
        )
    with pytest.raises(ValueError, match=r"trees\.json does not hold trees: trees have format"):
        GBDTLR(FEATURES, str(tmp_path))
    with pytest.raises(ValueError, match="trees have format version 9; this library reads 1"):
        Trees.from_dict({"version": 9})


@pytest.mark.parametrize("build", [GBDTLR, GBDTFFM])
def test_models_need_trees(build):
    with pytest.raises(ValueError, match=r"GBDT\w+ needs trees: train LightGBM"):
        build(FEATURES)


def test_gbdt_ffm_takes_the_first_trees():
    trees = Trees(column_names(FEATURES), [stump(), by_number(0.1, True), stump()])
    for given, taken in ((2, trees.trees[:2]), (30, trees.trees)):
        model = GBDTFFM(FEATURES, trees, tree_count=given)
        assert model.get_layer("leaves").trees.trees == taken
    with pytest.raises(ValueError, match="tree_count must be at least 1, got 0"):
        GBDTFFM(FEATURES, trees, tree_count=0)


# What LightGBM gives.


def random_rows(rows, seed):
    """Packed inputs with missing values, ids that training rows lack, and labels that they tell."""
    draw = np.random.default_rng(seed)
    known = 30 if seed == 0 else 42
    sites = draw.integers(0, known + 1, (rows, 1))
    prices = draw.normal(size=(rows, 1)).astype("float32") * draw.integers(0, 2, (rows, 1))
    tags = draw.integers(FIRST_TAG, FIRST_TAG + 71, (rows, 3)) * draw.integers(0, 2, (rows, 3))
    logits = np.sin(sites) + prices + (tags == FIRST_TAG + 2).any(axis=1, keepdims=True)
    clicks = draw.random((rows, 1)) < 1 / (1 + np.exp(-logits))
    packed = {"categorical": sites, "numeric": prices, "tags": tags}
    packed = {
        name: x.astype("float32" if name == "numeric" else "int32") for name, x in packed.items()
    }
    return packed, clicks.astype("float32")


def assert_leaves_are_those_of_lightgbm(features, train, validation, test, settings):
    booster, _ = grow_booster(features, train, validation, settings, seed=0)
    trees = trees_of(booster, features)
    columns = keras.ops.convert_to_numpy(column_values(features, test[0]))
    expected = booster.predict(columns, pred_leaf=True)
    ids = keras.ops.convert_to_numpy(TreeLeaves(features, trees)(test[0]))
    of_trees = trees.leaf_features
    starts = [of_trees.id_ranges[name].start for name in of_trees.field_names]
    np.testing.assert_array_equal(ids - starts, expected)
    assert len(np.unique(expected)) > 2
    scores = keras.ops.convert_to_numpy(boosted(features, trees)(test[0]))[:, 0]
    np.testing.assert_allclose(scores, booster.predict(columns), 1e-5)


@pytest.mark.parametrize("max_categories", [100, 5], ids=["categories", "ranks"])
def test_leaves_are_those_of_lightgbm(max_categories):
    pytest.importorskip("lightgbm")  # the environments of the oldest versions have none
    rows = [random_rows(2000, seed) for seed in range(3)]
    settings = BoostingSettings(num_iterations=20, max_categories=max_categories, num_threads=1)
    assert_leaves_are_those_of_lightgbm(FEATURES, *rows, settings)


def test_buckets_of_a_number_are_split_by_their_order():
    pytest.importorskip("lightgbm")
    price, site = Numeric("price", scale="boundaries", boundaries=range(9)), Categorical("site")
    features = FeatureSet(price, site, label=Label("click"), vocabulary_sizes={"site": 10})
    draw = np.random.default_rng(0)
    starts = [features.id_ranges[name].start for name in ("price", "site")]
    places = draw.integers(0, 10, (2000, 2))
    clicks = (places[:, :1] > 5) ^ (places[:, 1:] % 2 == 0)
    rows = {"categorical": (places + starts).astype("int32")}, clicks.astype("float32")
    grown = grow(features, rows, rows, BoostingSettings(num_iterations=5, num_threads=1))
    splits = [
        (column, bool(categories))
        for tree in grown.trees.trees
        for column, categories in zip(tree.columns, tree.categories, strict=True)
    ]
    assert set(splits) == {(0, False), (1, True)}


def test_numbers_that_were_never_missing_in_training_are_zero_where_they_are():
    pytest.importorskip("lightgbm")
    features = FeatureSet(Numeric("price"), label=Label("click"))
    prices = np.concatenate([np.linspace(-2, -0.1, 500), np.linspace(0.1, 2, 500)])
    train = {"numeric": prices[:, None].astype("float32")}, (np.cos(3 * prices) > 0)[:, None] * 1.0
    test = {"numeric": np.array([[0.0], [-1.0], [1.0], [np.nan]], "float32")}, None
    settings = BoostingSettings(num_iterations=5, num_threads=1)
    assert_leaves_are_those_of_lightgbm(features, train, train, test, settings)


def test_leaves_are_those_of_lightgbm_on_real_data(real_data):
    pytest.importorskip("lightgbm")
    numbers, categories = [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
    log = pd.read_csv(
        real_data / "criteo" / "kaggle_head8000.txt.gz",
        sep="\t",
        names=["click", *numbers, *categories],
    )
    log[categories] = log[categories].fillna("")
    parts = log[:4000], log[4000:5000], log[5000:]
    features = FeatureSet(
        *(Numeric(name, scale="log_squared") for name in numbers),
        *(Categorical(name, min_count=10) for name in categories),
        label=Label("click"),
    ).fit(parts[0])
    rows = [(features.pack(part), features.labels(part)) for part in parts]
    ids, numbers = (rows[2][0][name] for name in ("categorical", "numeric"))
    assert (ids == 0).any()
    assert (numbers == 0).any()
    assert np.isin(ids, [known.start for known in features.id_ranges.values()]).any()  # unseen ones
    settings = BoostingSettings(num_iterations=30, num_threads=1)
    assert_leaves_are_those_of_lightgbm(features, *rows, settings)


def test_lightgbm_without_openmp_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "lightgbm.py").write_text("raise OSError('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    with pytest.raises(OSError, match=r"libgomp.so.1: cannot open; it needs OpenMP, on .*libgomp1"):
        grow(FEATURES, *[random_rows(10, 0)] * 2, BoostingSettings())


def weighted(rows, seed):
    """The same rows with weights of quarters."""
    return *rows, np.random.default_rng(seed).integers(1, 9, len(rows[1])).astype("float32") / 4


def test_weighted_rows_grow_the_trees_of_lightgbm_given_weights():
    lightgbm = pytest.importorskip("lightgbm")
    rows = [weighted(random_rows(1000, seed), seed) for seed in range(2)]
    settings = BoostingSettings(num_iterations=15, num_threads=1)
    grown = grow(FEATURES, *rows, settings, seed=3)
    columns = [keras.ops.convert_to_numpy(column_values(FEATURES, row[0])) for row in rows]
    train, validation = (
        lightgbm.Dataset(x, np.ravel(labels), weight=weights, params={"verbosity": -1})
        for x, (_, labels, weights) in zip(columns, rows, strict=True)
    )
    train.set_categorical_feature([0])
    losses = {}
    booster = lightgbm.train(
        {
            **{"objective": "binary", "metric": "binary_logloss", "seed": 3, "bagging_freq": 1},
            **{"deterministic": True, "force_row_wise": True, "verbosity": -1},
            **settings.parameters(),
        },
        train,
        valid_sets=[train, validation.set_reference(train)],
        valid_names=["train", "validation"],
        callbacks=[lightgbm.record_evaluation(losses)],
    )
    assert grown.validation_loss == losses["validation"]["binary_logloss"]
    assert grown.train_loss == losses["train"]["binary_logloss"]
    best = len(grown.trees.trees)
    scores = keras.ops.convert_to_numpy(boosted(FEATURES, grown.trees)(rows[1][0]))[:, 0]
    np.testing.assert_allclose(scores, booster.predict(columns[1], num_iteration=best), 1e-5)
    without = grow(FEATURES, *(row[:2] for row in rows), settings, seed=3)
    assert without.trees != grown.trees


def test_rows_of_weight_zero_change_nothing():
    pytest.importorskip("lightgbm")
    rows = [weighted(random_rows(500, seed), seed) for seed in range(2)]
    others = random_rows(700, seed=2)
    more = [
        (
            {name: np.concatenate([x, others[0][name]]) for name, x in packed.items()},
            np.concatenate([labels, others[1]]),
            np.concatenate([weights, np.zeros(700, "float32")]),
        )
        for packed, labels, weights in rows
    ]
    settings = BoostingSettings(num_iterations=10, num_threads=1)
    assert grow(FEATURES, *more, settings) == grow(FEATURES, *rows, settings)


def test_the_same_seed_grows_the_same_trees_and_another_others():
    pytest.importorskip("lightgbm")
    rows = [random_rows(500, seed) for seed in range(2)]
    settings = BoostingSettings(num_iterations=5, num_threads=1)
    first, again, other = (grow(FEATURES, *rows, settings, seed).trees for seed in (0, 0, 1))
    assert first == again != other


def test_growing_stops_when_the_validation_rows_gain_no_more():
    pytest.importorskip("lightgbm")
    rows = [random_rows(500, seed) for seed in range(2)]
    grown = grow(FEATURES, *rows, BoostingSettings(patience=5, num_threads=1))
    best = int(np.argmin(grown.validation_loss)) + 1
    assert len(grown.trees.trees) == best
    assert len(grown.validation_loss) == best + 5 < 1000


def test_a_model_checks_its_own_ids_and_not_those_of_leaves():
    trees = Trees(column_names(FEATURES), [stump()])
    model = GBDTLR(FEATURES, trees)
    assert model(inputs([40])).shape == (1, 1)  # one leaf a row, as there is one id a row
    with pytest.raises(ValueError, match="id 200 of 'site'"):
        model(inputs([200]))
