"""The options of Keras' optimizers in those that update rows, step by step on both backends."""

import functools
import pathlib
import re
import sys

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.keras_internals import averages
from ctr_keras.optimizers import DenseAdam, SparseAdagrad, SparseAdam, SparseFtrl, SparseSGD, rows
from ctr_keras.tables import catches_up, look_up
from ctr_keras.tables.reading import reading_with
from tests.optimizers.training import BY_ROWS, SIZE, batches, summed, trained, weights
from tests.processes import in_another_process

pytestmark = [pytest.mark.backend, BY_ROWS]

KERAS = keras.optimizers
ROWS, DIM, PLACES = 10, 3, 5
STARTS = np.random.default_rng(0).normal(size=(2, ROWS, DIM)).astype("float32")
# For each step the rows that it reads, some of them twice, and the gradients of table and dense.
STEPS = [
    (read, *np.random.default_rng(step).normal(size=(2, ROWS, DIM)).astype("float32"))
    for step, read in enumerate(
        [[0, 1, 1, 3, 9], [0, 0, 2, 3, 4], [5, 5, 5, 1, 2], [0, 4, 4, 4, 9]]
    )
]


def variables():
    table, dense = (keras.Variable(start, name="weight") for start in STARTS)
    table.is_table = True
    return [table, dense]


def sparse(read, values):
    """A gradient that says for each place of a batch what it says of its row."""
    if keras.backend.backend() == "jax":
        from ctr_keras.tables.on_jax import RowGradient

        return RowGradient(np.array(read, "int32"), ops.convert_to_tensor(values))
    import tensorflow as tf

    return tf.IndexedSlices(tf.constant(values), tf.constant(read), (ROWS, DIM))


def walked(optimizer, steps=STEPS, as_sparse=True, after=lambda number: None):
    """The values of table and dense variable after steps, before what is lagging is made up for."""
    given = variables()
    optimizer.build(given)
    for number, (read, places, dense) in enumerate(steps, start=1):
        whole = np.zeros((ROWS, DIM), "float32")
        np.add.at(whole, read, places[:PLACES])
        first = sparse(read, places[:PLACES]) if as_sparse else ops.convert_to_tensor(whole)
        if catches_up(optimizer):
            optimizer.catch_up(given[0], ops.convert_to_tensor(np.unique(read).astype("int32")))
        with reading_with(look_up):  # as in the training step of `RowTrainer`
            optimizer.apply([first, ops.convert_to_tensor(dense)], given)
        after(number)
    return given


def values(given):
    return [ops.convert_to_numpy(variable) for variable in given]


def finished(optimizer, **arguments):
    given = walked(optimizer, **arguments)
    optimizer.finalize_variable_values(given)
    return values(given)


def assert_close(ours, theirs, rtol=1e-5, atol=1e-6):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol, atol)


@functools.cache
def without_options(theirs, **arguments):
    return finished(theirs(0.1, **arguments), as_sparse=False)


@pytest.mark.parametrize(
    "option",
    [{"clipvalue": 0.3}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"loss_scale_factor": 8.0}],
    ids=lambda option: next(iter(option)),
)
@pytest.mark.parametrize(
    ("ours", "theirs", "arguments"),
    [
        (SparseSGD, KERAS.SGD, {}),
        (SparseAdagrad, KERAS.Adagrad, {}),
        (
            lambda *some, **more: SparseAdam(*some, exact=True, **more),
            KERAS.Adam,
            {"epsilon": 1e-9},
        ),
    ],
    ids=["sgd", "adagrad", "exact adam"],
)
def test_clipping_and_loss_scales_act_on_the_whole_gradient(ours, theirs, arguments, option):
    expected = finished(theirs(0.1, **arguments, **option), as_sparse=False)
    assert_close(finished(ours(0.1, **arguments, **option)), expected, 1e-4, 1e-5)
    without = without_options(theirs, **arguments)
    if theirs is not KERAS.Adam or "loss_scale_factor" not in option:  # a scale is nothing to Adam
        for some, other in zip(expected, without, strict=True):
            assert np.abs(some - other).max() > 1e-3


@pytest.mark.parametrize("make", [SparseAdam, SparseFtrl])
def test_a_lazy_optimizer_clips_rows_by_the_norm_of_all(make):
    """Against the same optimizer whose gradients were clipped by hand."""
    clipped = [
        (read, places * _share(read, places), dense * min(1, 0.5 / np.linalg.norm(dense)))
        for read, places, dense in STEPS
    ]
    assert_close(finished(make(0.1, clipnorm=0.5)), finished(make(0.1), steps=clipped))


def _share(read, places):
    whole = np.zeros((ROWS, DIM))
    np.add.at(whole, read, places[:PLACES])
    return min(1, 0.5 / np.linalg.norm(whole))


@pytest.mark.parametrize(
    "make", [SparseAdam, SparseAdagrad, SparseSGD], ids=lambda make: make.__name__
)
def test_averages_are_those_of_the_weights_after_every_step(make):
    history = []
    plain = make(0.1, weight_decay=0.01)
    walked(plain, after=lambda number: history.append(values(built(plain))))
    expected = history[0]
    for step in history[1:]:
        pairs = zip(expected, step, strict=True)
        expected = [0.7 * average + 0.3 * weight for average, weight in pairs]
    optimizer = make(0.1, weight_decay=0.01, use_ema=True, ema_momentum=0.7)
    given = walked(optimizer)
    assert_close(values(given), history[-1])
    optimizer.catch_up_all()
    assert_close(values(averages(optimizer)), expected)
    optimizer.finalize_variable_values(given)
    assert_close(values(given), expected)


def built(optimizer):
    return optimizer._trainable_variables


@pytest.mark.parametrize("option", [{"exact": True}, {"use_ema": True, "ema_momentum": 0.7}])
def test_rows_may_be_caught_up_with_at_any_time_in_blocks_of_any_size(option, monkeypatch):
    expected = finished(SparseAdam(0.1, epsilon=1e-9, **option))
    monkeypatch.setattr(rows, "_BLOCK", 3)
    optimizer = SparseAdam(0.1, epsilon=1e-9, **option)
    assert_close(finished(optimizer, after=lambda number: optimizer.catch_up_all()), expected)


class CatchUp(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.catch_up_all()


def test_keras_swaps_weights_and_averages():
    plain = trained(SparseAdam(0.01, use_ema=True))
    swapped = trained(
        SparseAdam(0.01, use_ema=True),
        callbacks=[CatchUp(), keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )
    for path, value in weights(plain).items():
        np.testing.assert_allclose(weights(swapped)[path], value, 1e-5, 1e-7)


@pytest.mark.parametrize("make", [SparseAdam, SparseAdagrad, SparseSGD, SparseFtrl])
@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ({"gradient_accumulation_steps": 2}, "use a batch_size that many times as large"),
        ({"use_ema": True, "ema_overwrite_frequency": 3}, "at the end of `fit` alone"),
    ],
)
def test_what_is_refused_says_what_to_do(make, option, remedy):
    with pytest.raises(
        ValueError, match=f"{make.__name__} takes no {list(option)[-1]}: .*{remedy}"
    ):
        make(**option)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseAdam(amsgrad=True), "takes no amsgrad: use Keras' Adam"),
        (lambda: SparseAdam(exact=True, weight_decay=0.1), "no weight_decay: use DenseAdam"),
        (lambda: SparseAdam(exact=True, use_ema=True), "no use_ema: use DenseAdam"),
        (lambda: SparseAdam(exact=True, table_decay=0.1), "no table_decay: use DenseAdam"),
        (lambda: SparseAdam(table_decay=1.0), "table_decay must be at least 0 and below 1"),
        (
            lambda: SparseAdam(KERAS.schedules.CosineDecay(0.1, 9), exact=True),
            "takes no schedule.* by LearningRateScheduler, or use DenseAdam",
        ),
        (
            lambda: SparseAdam(exact=True, beta_1=0.95, beta_2=0.9),
            r"below the square root of beta_2\. Received: beta_1=0.95, beta_2=0.9",
        ),
        (
            lambda: SparseAdam(exact=True, beta_1=0.5, beta_2=0.25),
            r"below the square root of beta_2\. Received: beta_1=0.5, beta_2=0.25",
        ),
        (
            lambda: SparseFtrl(l2_shrinkage_regularization_strength=0.1),
            "no l2_shrinkage_regularization_strength: use l2_regularization_strength",
        ),
    ],
)
def test_what_single_optimizers_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Without momenta, so that dense Adam leaves rows that are not read alone but for their decay; with
# an epsilon that keeps rounding errors of tiny gradients from being divided by their size.
NO_MOMENTA = {"learning_rate": 0.1, "beta_1": 0.0, "beta_2": 0.0, "epsilon": 1.0}


def decayed(decay, use_ema=False, ema_momentum=0.99):
    """A table whose rows lose more in each step that does not read them, row by row."""
    table, average = STARTS[0].astype("float64"), np.zeros((ROWS, DIM))
    last_read, since = np.zeros(ROWS, "int64"), np.zeros(ROWS, "int64")

    def step(row, kept, movement=0.0):
        since[row] += 1
        table[row] = kept * table[row] - movement
        momentum = ema_momentum if since[row] > 1 else 0.0
        average[row] = momentum * average[row] + (1 - momentum) * table[row]

    def catch_up(row, number):
        missed = number - since[row]
        rested = np.array([number, since[row]]) - last_read[row]
        kept = (1 - decay) ** (rested**1.5 @ [1, -1])
        for _ in range(missed):
            step(row, kept ** (1 / missed))

    for number, (read, places, _) in enumerate(STEPS):
        gradient = np.zeros((ROWS, DIM))
        np.add.at(gradient, read, places[:PLACES])
        for row in {*read}:
            catch_up(row, number)
            step(row, 1.0, 0.1 * gradient[row] / (np.abs(gradient[row]) + 1.0))
            last_read[row] = number + 1
    for row in range(ROWS):
        catch_up(row, len(STEPS))
    return average if use_ema else table


@pytest.mark.parametrize("averages", [{}, {"use_ema": True, "ema_momentum": 0.97}], ids=str)
@pytest.mark.parametrize("decay", [0.03, 0.3])
def test_rows_decay_the_more_the_longer_they_are_not_read(decay, averages):
    table, _ = finished(SparseAdam(table_decay=decay, **NO_MOMENTA, **averages))
    assert_close([table], [decayed(decay, **averages)])


@pytest.mark.parametrize("momentum", [0.5, 0.99])
def test_a_long_rest_overflows_nothing(momentum):
    optimizer = SparseAdam(table_decay=3e-8, use_ema=True, ema_momentum=momentum, **NO_MOMENTA)
    given = walked(optimizer, STEPS[:1])
    before = values(given)[0][[0, 1, 3, 9]]
    optimizer.iterations.assign(100_001)
    optimizer.finalize_variable_values(given)
    left = np.exp(-3e-8 * 100_000**1.5)
    assert_close([values(given)[0][[0, 1, 3, 9]]], [left * before], 2e-3)


@pytest.mark.parametrize("every", [1, 2])
def test_catching_up_in_between_changes_nothing(every):
    def catch_up(number):
        if number % every == 0:
            optimizer.catch_up_all()

    expected, _ = finished(SparseAdam(table_decay=0.3, **NO_MOMENTA))
    optimizer = SparseAdam(table_decay=0.3, **NO_MOMENTA)
    assert_close([finished(optimizer, after=catch_up)[0]], [expected])


def test_a_table_that_is_updated_whole_decays_as_well():
    given = variables()
    given[0].regularizer = keras.regularizers.L2(0.1)  # walked whole
    optimizer = SparseAdam(table_decay=0.03, **NO_MOMENTA)
    with pytest.warns(UserWarning, match="updates all rows"):
        optimizer.build(given)
    for read, places, dense in STEPS:
        whole = np.zeros((ROWS, DIM), "float32")
        np.add.at(whole, read, places[:PLACES])
        optimizer.apply([ops.convert_to_tensor(whole), ops.convert_to_tensor(dense)], given)
    assert_close([values(given)[0]], [decayed(0.03)])


def test_rows_have_decayed_before_they_are_read():
    first, second = batches(2)
    read = np.unique(np.concatenate([first[0]["categorical"], first[0]["m"]], axis=1))

    def after(*fits):
        """What the last batch reads, and all that is no table; after a `fit` all has decayed."""
        model = trained(SparseAdam(table_decay=0.1, **NO_MOMENTA), steps=1)
        for steps in fits:
            model.fit((step for step in steps), steps_per_epoch=len(steps), verbose=0)
        return [value[read] if len(value) > SIZE else value for value in weights(model).values()]

    assert_close(after([first, second, first]), after([first, second], [first]), 1e-4)


def test_dense_adam_is_adam_on_whole_gradients():
    options = {"learning_rate": 0.1, "epsilon": 1e-9}
    expected = finished(KERAS.Adam(**options), as_sparse=False)
    assert_close(finished(SparseAdam(exact=True, **options)), expected, 1e-4, 1e-5)
    if keras.backend.backend() == "tensorflow":  # Keras on JAX gives it no other gradients
        assert_close(finished(DenseAdam(**options)), expected)
        assert np.abs(finished(KERAS.Adam(**options))[0] - expected[0]).max() > 0.01


def test_dense_adam_trains_as_exact_adam():
    dense, exact = (
        weights(trained(make)) for make in (DenseAdam(0.01), SparseAdam(0.01, exact=True))
    )
    for path, value in dense.items():
        np.testing.assert_allclose(exact[path], value, 2e-4, 2e-6, err_msg=path)
    keras_own = weights(trained(summed(KERAS.Adam(0.01))))
    for path, value in dense.items():
        np.testing.assert_allclose(keras_own[path], value, 1e-5, 1e-7, err_msg=path)


def share_of_memory_to_catch_up():
    """More than before at the peak, of what table and optimizer take."""
    table = keras.Variable(keras.ops.zeros((2_000_000, 8)), name="table")
    table.is_table = True
    optimizer = SparseAdam(exact=True)
    optimizer.build([table])
    optimizer.iterations.assign(5)
    size = sum(keras.ops.size(v) * 4 for v in [table, *optimizer.variables])
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = peak_memory()
    optimizer.catch_up_all()
    return (peak_memory() - before) / int(size)


def peak_memory():
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the peak")
def test_catching_up_with_a_table_takes_no_memory_of_its_size():
    assert in_another_process(share_of_memory_to_catch_up) < 0.2
