"""Sparse optimizers against dense ones and against their rules, through `fit` on both backends."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import FM, DeepFM
from ctr_keras.optimizers import (
    RoutedOptimizer,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
)
from ctr_keras.tables import look_up
from ctr_keras.tables.reading import reading_with
from tests.optimizers.training import (
    BY_ROWS,
    FEATURES,
    assert_same,
    batches,
    summed,
    trained,
    weights,
)
from tests.packed import FEW_STEPS, JIT
from tests.parameters import first_of

pytestmark = pytest.mark.backend

OPTIMIZERS = keras.optimizers


@pytest.mark.parametrize(
    ("sparse", "dense"),
    [
        (lambda: SparseSGD(0.5), lambda: OPTIMIZERS.SGD(0.5)),
        (lambda: SparseAdagrad(0.1), lambda: OPTIMIZERS.Adagrad(0.1)),
        (
            lambda: SparseAdam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-9, exact=True),
            lambda: OPTIMIZERS.Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-9),
        ),
    ],
    ids=["sgd", "adagrad", "adam exact with other decays"],
)
def test_equals_the_dense_optimizer(sparse, dense):
    assert_same(trained(sparse()), trained(summed(dense())), rtol=2e-4, atol=2e-6)


def test_equals_the_dense_optimizer_in_a_compiled_step():
    """The one with most to compile; `test_xla` compares all to steps that are run eagerly."""
    sparse = trained(SparseAdam(0.01, exact=True), compiled={"jit_compile": JIT})
    assert_same(sparse, trained(summed(OPTIMIZERS.Adam(0.01))), rtol=2e-4, atol=2e-6)


@BY_ROWS
def test_lazy_adam_is_not_dense_adam():
    sparse, dense = (
        weights(trained(SparseAdam(0.01))),
        weights(trained(summed(OPTIMIZERS.Adam(0.01)))),
    )
    assert any(np.abs(value - dense[path]).max() > 1e-3 for path, value in sparse.items())


@pytest.mark.parametrize(
    ("sparse", "dense"),
    [
        (
            lambda **more: SparseAdam(0.01, **more),
            lambda **more: OPTIMIZERS.Adam(0.01, **more),
        ),
        (
            lambda **more: SparseSGD(0.1, momentum=0.9, **more),
            lambda **more: OPTIMIZERS.SGD(0.1, momentum=0.9, **more),
        ),
        (
            lambda **more: SparseSGD(0.1, momentum=0.9, nesterov=True, **more),
            lambda **more: OPTIMIZERS.SGD(0.1, momentum=0.9, nesterov=True, **more),
        ),
        (
            lambda **more: SparseFtrl(0.1, l1_regularization_strength=0.01, beta=0.5, **more),
            lambda **more: OPTIMIZERS.Ftrl(0.1, l1_regularization_strength=0.01, beta=0.5, **more),
        ),
        (
            lambda **more: SparseAdagrad(0.1, **more),
            lambda **more: OPTIMIZERS.Adagrad(0.1, **more),
        ),
    ],
    ids=["adam", "momentum", "nesterov", "ftrl", "adagrad"],
)
@pytest.mark.parametrize("decay", first_of([0.1, None]))
def test_equals_the_dense_optimizer_where_every_row_is_read(sparse, dense, decay):
    """Rows 1 to 4 of a table of 5 in every step; row 0 stands for what is missing."""
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    packed = {"categorical": np.tile(np.arange(1, 5, dtype="int32"), 3)[:, None]}
    labels = np.random.default_rng(0).integers(0, 2, size=(12, 1)).astype("float32")
    results = []
    for optimizer in (sparse(weight_decay=decay), summed(dense(weight_decay=decay))):
        keras.utils.set_random_seed(0)
        model = FM(features, dim=2, embeddings_initializer="random_normal")
        model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
        model.fit(packed, labels, batch_size=6, epochs=5, shuffle=False, verbose=0)
        results.append([value[1:] for value in weights(model).values() if len(value) == 5])
    assert len(results[0]) == 2  # the tables of embeddings and of the linear logit
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


STEP_BY_STEP = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the rules are the same, and JAX compiles each operation",
)


def walked(optimizer, steps, is_table, started=0):
    """A variable of 4 rows after steps, each the rows that a batch has read and what it says."""
    start = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    variable = keras.Variable(start, name="table")
    variable.is_table = is_table
    optimizer.build([variable])
    optimizer.iterations.assign(started)
    for rows, values in steps:
        gradient = tf.IndexedSlices(values, rows, (4, 3))
        with reading_with(look_up):  # as in the training step of `RowTrainer`
            optimizer.apply([gradient if is_table else tf.convert_to_tensor(gradient)], [variable])
    optimizer.finalize_variable_values([variable])
    return start, ops.convert_to_numpy(variable)


def drawn(*rows):
    draw = np.random.default_rng(1)
    return [(some, draw.normal(size=(len(some), 3)).astype("float32")) for some in rows]


RULES = {
    "adam": (SparseAdam, OPTIMIZERS.Adam, {}),
    "adam with other decays": (
        SparseAdam,
        OPTIMIZERS.Adam,
        {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1},
    ),
    "adagrad": (SparseAdagrad, OPTIMIZERS.Adagrad, {"epsilon": 0.1}),
    "adagrad from a half": (SparseAdagrad, OPTIMIZERS.Adagrad, {"initial_accumulator_value": 0.5}),
    "sgd": (SparseSGD, OPTIMIZERS.SGD, {}),
    "momentum": (SparseSGD, OPTIMIZERS.SGD, {"momentum": 0.7}),
    "nesterov": (SparseSGD, OPTIMIZERS.SGD, {"momentum": 0.7, "nesterov": True}),
    "ftrl": (SparseFtrl, OPTIMIZERS.Ftrl, {}),
    "ftrl with all": (
        SparseFtrl,
        OPTIMIZERS.Ftrl,
        {
            "learning_rate_power": -0.4,
            "initial_accumulator_value": 0.3,
            "l1_regularization_strength": 0.3,
            "l2_regularization_strength": 0.2,
            "beta": 0.5,
        },
    ),
}


@STEP_BY_STEP
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decay", [None, 0.1])
def test_rows_that_every_batch_reads_follow_the_dense_rule_and_others_stay(rule, decay):
    ours, keras_own, options = RULES[rule]
    steps = drawn([2, 0, 2], [0, 2, 0], [2, 2, 0], [0, 0, 2, 2], [2, 0])
    start, table = walked(ours(0.1, weight_decay=decay, **options), steps, is_table=True)
    _, expected = walked(keras_own(0.1, weight_decay=decay, **options), steps, is_table=False)
    np.testing.assert_allclose(table[[0, 2]], expected[[0, 2]], 1e-5, 1e-6)
    np.testing.assert_array_equal(table[[1, 3]], start[[1, 3]])
    assert (table[[0, 2]] != start[[0, 2]]).all()
    _, no_table = walked(ours(0.1, weight_decay=decay, **options), steps, is_table=False)
    np.testing.assert_allclose(no_table, expected, 1e-5, 1e-6)


@STEP_BY_STEP
def test_a_dense_gradient_updates_every_row_of_a_table():
    draw = np.random.default_rng(0)
    start, gradient = draw.normal(size=(2, 4, 3)).astype("float32")
    results = []
    for optimizer in (SparseAdam(0.1), OPTIMIZERS.Adam(0.1)):
        table = keras.Variable(start, name="table")
        table.is_table = True
        optimizer.build([table])
        optimizer.apply([tf.convert_to_tensor(gradient)], [table])
        results.append(ops.convert_to_numpy(table))
    np.testing.assert_allclose(*results, 1e-5, 1e-6)
    assert (results[0] != start).all()


@STEP_BY_STEP
@pytest.mark.parametrize("started", [0, 7, 19_994, 19_999, 40_000])
@pytest.mark.parametrize("decays", [(0.9, 0.999), (0.5, 0.9)])
def test_exact_adam_makes_up_for_all_that_rows_miss(started, decays):
    beta_1, beta_2 = decays
    options = {"learning_rate": 0.1, "beta_1": beta_1, "beta_2": beta_2, "epsilon": 1e-9}
    steps = drawn([0, 1, 1, 3], [0], [2, 0], [0, 2], [0, 3], [1, 0], [0, 0], [0], [0, 2], [0], [0])
    _, table = walked(SparseAdam(exact=True, **options), steps, is_table=True, started=started)
    _, expected = walked(OPTIMIZERS.Adam(**options), steps, is_table=False, started=started)
    np.testing.assert_allclose(table, expected, 1e-4, 1e-5)


@BY_ROWS
def test_only_rows_that_were_read_change():
    model = FM(FEATURES, dim=4)
    before = weights(model)
    optimizer = SparseAdam(0.01, weight_decay=0.1)
    model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
    ((packed, labels),) = batches(1)
    model.fit(packed, labels, verbose=0)
    read = np.unique(np.concatenate([ids.ravel() for ids in packed.values()]))
    tables = [path for path, value in before.items() if len(value) == FEATURES.id_count]
    assert len(tables) == 2
    for path in tables:
        changed = np.flatnonzero((weights(model)[path] != before[path]).any(axis=1))
        assert set(changed) <= set(read)
        assert len(changed) > 4
    for slot in optimizer.variables:
        if slot.shape[:1] == (FEATURES.id_count,):
            assert set(np.flatnonzero(ops.convert_to_numpy(slot).any(axis=1))) <= set(read)


@BY_ROWS
def test_lazy_adam_follows_its_rule_when_a_row_comes_back():
    """One weight, read in steps 1 and 4 of 4; bias correction counts all steps."""
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    optimizer = SparseAdam(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-8)
    model = FM(features, dim=1, orders=[2])
    model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
    (weight,) = (v for v in model.trainable_variables if v.path.startswith("linear/weighting"))
    value, momentum, velocity = float(ops.convert_to_numpy(weight)[1, 0]), 0.0, 0.0
    for step, row in enumerate([1, 2, 2, 1], start=1):
        packed = {"categorical": np.array([[row]], "int32")}
        score = float(model.predict(packed, verbose=0)[0, 0])
        model.fit(packed, np.ones((1, 1), "float32"), verbose=0)
        if row == 1:
            gradient = score - 1
            momentum += (gradient - momentum) * 0.2
            velocity += (gradient**2 - velocity) * 0.1
            alpha = 0.1 * np.sqrt(1 - 0.9**step) / (1 - 0.8**step)
            value -= alpha * momentum / (np.sqrt(velocity) + 1e-8)
        assert float(ops.convert_to_numpy(weight)[1, 0]) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("exact", [False, True])
def test_goes_on_from_a_saved_model(tmp_path, exact):
    data = list(batches(10))
    model = FM(FEATURES, dim=4)
    model.compile(SparseAdam(0.01, exact=exact), "binary_crossentropy", **FEW_STEPS)
    model.fit((batch for batch in data[:5]), steps_per_epoch=5, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.exact == exact
    for one in (model, loaded):
        one.fit((batch for batch in data[5:]), steps_per_epoch=5, verbose=0)
    assert_same(loaded, model, rtol=0, atol=1e-7)


def test_takes_a_schedule_and_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        schedule = OPTIMIZERS.schedules.ExponentialDecay(0.05, 5, 0.9)
        model = trained(SparseAdam(schedule), build=DeepFM, hidden=[8])
    finally:
        keras.config.set_dtype_policy(policy)
    assert all(np.isfinite(value).all() for value in weights(model).values())
    (packed, labels) = next(iter(batches(1, rows=64, seed=9)))
    losses = [model.evaluate(packed, labels, verbose=0)]
    model.fit(packed, labels, epochs=10, verbose=0)
    assert model.evaluate(packed, labels, verbose=0) < losses[0]


def test_is_routed_to_tables():
    routes = {"table$": SparseAdam(0.01)}
    routed = trained(RoutedOptimizer(OPTIMIZERS.Adam(0.01), routes))
    assert_same(routed, trained(SparseAdam(0.01)), rtol=1e-6, atol=1e-8)


def test_a_penalty_on_the_table_keeps_its_dense_gradient():
    def penalized(optimizer):
        keras.utils.set_random_seed(0)
        model = FM(FEATURES, dim=4)
        for layer in model.layers:
            if layer.name == "embedding":
                layer.embeddings_regularizer = keras.regularizers.L2(0.1)
                layer.table.regularizer = layer.embeddings_regularizer
        model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
        model.fit(batches(4), steps_per_epoch=4, verbose=0)
        return weights(model)["embedding/table"]

    sparse, dense = penalized(SparseAdam(0.01)), penalized(summed(OPTIMIZERS.Adam(0.01)))
    np.testing.assert_allclose(sparse, dense, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (SparseAdam, "sparse_adam"),
        (SparseAdagrad, "sparse_adagrad"),
        (SparseSGD, "sparse_sgd"),
        (SparseFtrl, "sparse_ftrl"),
    ],
)
def test_is_named_after_its_class_unless_a_name_is_given(optimizer, name):
    assert [optimizer().name, optimizer().name, optimizer(name="mine").name] == [name, name, "mine"]


def test_takes_the_arguments_of_keras_by_position():
    assert SparseAdagrad(0.1, 0.2, 1e-6, 0.3).get_config() == {
        **OPTIMIZERS.Adagrad(0.1, 0.2, 1e-6, 0.3).get_config(),
        "name": "sparse_adagrad",
    }
    assert SparseAdagrad(0.1, 0.2, 1e-6, None, 1.0).clipnorm == 1.0


def test_loads_what_earlier_versions_saved():
    """Their classes stood in another module; the registered name is what counts."""
    saved = keras.optimizers.serialize(SparseAdam(0.25, exact=True))
    loaded = keras.optimizers.deserialize({**saved, "module": "ctr_keras.optimizers.sparse"})
    assert loaded.get_config() == SparseAdam(0.25, exact=True).get_config()


@pytest.mark.parametrize("exact", [False, True])
def test_leaves_a_frozen_table_alone(exact):
    model = FM(FEATURES, dim=4)
    model.get_layer("embedding").trainable = False
    frozen = ops.convert_to_numpy(model.get_layer("embedding").table)
    before = weights(model)
    model.compile(SparseAdam(0.01, exact=exact), "binary_crossentropy", **FEW_STEPS)
    model.fit(batches(3), steps_per_epoch=3, verbose=0)
    np.testing.assert_array_equal(model.get_layer("embedding").table, frozen)
    assert any((value != before[path]).any() for path, value in weights(model).items())


@BY_ROWS
def test_refuses_a_policy_that_scales_the_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match=r"use mixed_bfloat16.*`table_updates=dense`"):
            trained(SparseAdam())
        trained(RoutedOptimizer(OPTIMIZERS.Adam(), {"linear": OPTIMIZERS.SGD(0.1)}), steps=1)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="looks at JAX's program")
def test_no_dense_gradient_of_a_table_is_made():
    import jax

    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 999})
    model = FM(features, dim=4)
    model.compile(SparseAdam(0.01), "binary_crossentropy")
    packed = {"categorical": np.ones((8, 1), "int32")}
    model.fit(packed, np.ones((8, 1), "float32"), verbose=0)
    state = [
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    ]
    program = jax.make_jaxpr(model.train_step)(state, (packed, np.ones((8, 1), "float32")))
    makers = {
        equation.primitive.name
        for equation in _equations(program.jaxpr)
        for output in equation.outvars
        if output.aval.shape[:1] == (features.id_count,)
    }
    assert "scatter" in makers  # the rows that are written
    assert makers <= {"scatter", "stop_gradient", "pjit", "jit", "custom_jvp_call"}


def _equations(program):
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)
