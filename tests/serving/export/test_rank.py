"""`rank`: one user, many items, the scores of single rows."""

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.data import read_samples
from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued
from ctr_keras.models import AutoInt, DeepFM, OptInterM
from serving.export import ExportOptions, export_model
from serving.export.candidates import Candidates, find_item_columns
from serving.export.columns import raw_arrays
from tests.serving.click_log import ITEM_COLUMNS, scrambled

COUNT = 40


def export(model, features, prepared, folder, *item_columns):
    options = ExportOptions(item_columns, force=True)
    return tf.saved_model.load(
        export_model(model, features, str(prepared), str(folder / "ctr"), options)
    )


@pytest.fixture(scope="module")
def features(clicks):
    return FeatureSet.load(clicks / "features.json")


@pytest.fixture(scope="module")
def columns(clicks, features):
    """Raw columns of so many candidates for one user, as single rows."""
    columns = raw_arrays(features, read_samples(str(clicks), features).rows[:COUNT])
    return {
        name: values if name in ITEM_COLUMNS else np.repeat(values[:1], COUNT)
        for name, values in columns.items()
    }


@pytest.fixture(scope="module")
def loaded(clicks, features, tmp_path_factory):
    """A model that memorizes pairs: of a user's and an item's column, and of two of the user's."""
    model = scrambled(OptInterM(features, dim=4, cross_dim=3, hidden=[8]))
    return export(model, features, clicks, tmp_path_factory.mktemp("models"))


def of_one_user(columns):
    return {k: v if k in ITEM_COLUMNS else v[:1] for k, v in columns.items()}


def run(loaded, signature, columns):
    tensors = {name: tf.constant(values) for name, values in columns.items()}
    return loaded.signatures[signature](**tensors)["score"].numpy()


def test_scores_are_those_of_single_rows(loaded, columns):
    ranked = run(loaded, "rank", of_one_user(columns))
    single = [
        run(loaded, "serving_default", {k: v[i : i + 1] for k, v in columns.items()})[0]
        for i in range(COUNT)
    ]
    assert ranked.shape == (COUNT,)
    assert len(set(ranked.round(4))) > COUNT / 2
    np.testing.assert_allclose(ranked, single, atol=1e-6)


def test_models_with_attention_rank_as_well(autoint, columns):
    loaded = tf.saved_model.load(str(autoint.version))
    ranked, single = (
        run(loaded, "rank", of_one_user(columns)),
        run(loaded, "serving_default", columns),
    )
    # Weights so far from zero make terms of which float32 keeps five digits in another order.
    np.testing.assert_allclose(ranked, single, rtol=1e-5, atol=1e-6)


def test_models_that_leave_out_crossed_features_serve_and_rank(clicks, features, columns, tmp_path):
    model = scrambled(DeepFM(features, dim=4, hidden=[8]))
    assert "crossed" not in [tensor.name for tensor in model.inputs]
    loaded = export(model, features, clicks, tmp_path)
    samples = read_samples(str(clicks), features)
    served = run(loaded, "serving_default", raw_arrays(features, samples.rows))
    expected = model.predict(samples.inputs, verbose=0)[:, 0]  # with all that is packed
    np.testing.assert_allclose(served, expected, atol=1e-6)
    ranked = run(loaded, "rank", of_one_user(columns))
    np.testing.assert_allclose(ranked, run(loaded, "serving_default", columns), atol=1e-6)
    transformed = loaded.signatures["transform_features"].structured_outputs
    assert transformed.keys() == features.packed_shapes.keys()


def test_no_candidates_give_no_scores(loaded, columns):
    none = {k: v[:0] if k in ITEM_COLUMNS else v[:1] for k, v in columns.items()}
    assert run(loaded, "rank", none).shape == (0,)


def test_an_item_column_may_be_one_for_all(loaded, columns):
    same_price = columns | {"price": np.repeat(columns["price"][:1], COUNT)}
    short = of_one_user(same_price) | {"price": columns["price"][:1]}
    np.testing.assert_allclose(
        run(loaded, "rank", short), run(loaded, "serving_default", same_price), atol=1e-6
    )


def test_several_users_at_once(loaded, columns, clicks, features):
    """Columns of items, and scores, are (users, candidates) then: the form for batching servers."""
    others = raw_arrays(features, read_samples(str(clicks), features).rows[-3:])
    lists = {
        k: v[: 3 * 5].reshape(3, 5) if k in ITEM_COLUMNS else others[k] for k, v in columns.items()
    }
    ranked = run(loaded, "rank", lists)
    single = {k: v.reshape(-1) if k in ITEM_COLUMNS else np.repeat(v, 5) for k, v in lists.items()}
    expected = run(loaded, "serving_default", single).reshape(3, 5)
    np.testing.assert_allclose(ranked, expected, atol=1e-6)
    one = {k: v[:1] for k, v in lists.items()}
    np.testing.assert_allclose(run(loaded, "rank", one), expected[:1], atol=1e-6)


def test_a_second_user_is_refused_by_name(loaded, columns):
    wrong = of_one_user(columns) | {"age": columns["age"][:2]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"one value .* in column .*\[age\]"):
        run(loaded, "rank", wrong)


def test_without_groups_every_column_may_have_one_value(clicks, features, columns, tmp_path):
    model = scrambled(AutoInt(features, dim=4, layers=1, head_dim=4, crossed=True))
    loaded = export(model, features, clicks, tmp_path, *features.raw_columns)
    for short in ({}, *({name: columns[name][:1]} for name in ("user", "history"))):
        expected = columns | {name: np.repeat(v, COUNT) for name, v in short.items()}
        np.testing.assert_allclose(
            run(loaded, "rank", columns | short),
            run(loaded, "serving_default", expected),
            atol=1e-6,
        )


def test_item_columns_are_those_of_the_group_unless_they_are_chosen():
    def of(*members, **kwargs):
        return sorted(find_item_columns(FeatureSet(*members, label=Label("y")), **kwargs))

    user, movie = Categorical("user"), Categorical("movie", column="id", group="item")
    genres = MultiValued("genres", group="item")
    assert of(user, movie, genres) == ["genres", "id"]
    assert of(user, movie, chosen=["user"]) == ["user"]
    assert of(user, Categorical("movie")) == ["movie", "user"]
    with pytest.raises(ValueError, match=r"no column film .* the model reads user, id"):
        of(user, movie, chosen=["film"])


def test_the_transform_takes_a_users_columns_as_one_value(features, columns):
    tensors = {name: tf.constant(values) for name, values in of_one_user(columns).items()}
    candidates = Candidates(features, frozenset(ITEM_COLUMNS))
    given = candidates.columns(tensors, candidates.shape(tensors))
    sizes = {name: len(column) for name, column in given.items()}
    assert sizes == {name: COUNT if name in ITEM_COLUMNS else 1 for name in columns}
