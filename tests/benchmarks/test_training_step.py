"""Training steps beside the peers': what all are given, how workers are led, what goals say."""

import doctest
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import training_step
from benchmarks.peers import work
from benchmarks.peers.environments import environment_python
from benchmarks.peers.work import Work
from benchmarks.peers.worker import Worker
from benchmarks.training_step import Key, goals
from tests import JAX_SETTINGS
from tests.parameters import first_of

OURS = Key("ctr-keras", "float32", "FM", 10_000_000, "zipf")


@pytest.mark.parametrize("module", [work, training_step])
def test_examples_run(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_zipf_ids_follow_the_law():
    ids, clicks = Work("FM", ids=39 * 1000, batches=8).draw("zipf")
    assert ids.min() >= 0
    assert ids.max() < 1000
    assert set(np.unique(clicks)) == {0, 1}
    counts = np.bincount(ids.ravel(), minlength=1000)
    for id_ in (1, 9, 99):
        assert counts[0] / counts[id_] == pytest.approx((id_ + 1) ** 1.1, rel=0.1)


def test_uniform_ids_reach_all_of_a_field_alike():
    ids, _ = Work("FM", ids=39 * 100, batches=8).draw("uniform")
    counts = np.bincount(ids.ravel(), minlength=100)
    assert counts.shape == (100,)
    assert counts.min() > 0.9 * counts.mean()


def test_every_process_draws_the_same():
    first, second = (Work("FM", ids=3900, batches=1).draw("zipf") for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.slow
@pytest.mark.parametrize("backend", first_of(["tensorflow", "jax"]))
def test_our_worker_trains(backend, monkeypatch):
    for name, value in JAX_SETTINGS.items():
        monkeypatch.setenv(name, value)
    small = Work("FM", ids=3900, batch_size=64, batches=2)
    worker = Worker("benchmarks.peers.train_ctr_keras", sys.executable, small, backend)
    try:
        answers = [worker.run(law, steps=2) for law in ("zipf", "uniform")]
    finally:
        worker.stop()
    assert worker.parameters == 3901 * 17 + 1  # id 0 is ours alone
    for answer in answers:
        assert answer["seconds"] > 0
        assert 0 < answer["training_bytes"] < answer["peak_bytes"]


def test_a_worker_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)train_nothing ended with status 1.*No module"):
        Worker("benchmarks.peers.train_nothing", sys.executable, Work("FM", ids=3900))


def test_an_environment_that_is_up_to_date_is_kept(tmp_path):
    from benchmarks.peers.environments import REQUIREMENTS

    (tmp_path / "fuxictr").mkdir()
    pinned = (REQUIREMENTS / "fuxictr.txt").read_text()
    (tmp_path / "fuxictr" / "installed").write_text(pinned)
    python = environment_python(str(tmp_path), "fuxictr")
    assert python == str(tmp_path / "fuxictr" / "bin" / "python")
    assert "torch==2.13.0\n" in pinned


def test_goals_compare_with_the_fewest_ids_and_the_table():
    lines = {
        OURS: {"milliseconds": 26.0, "training_over_table": 3.4},
        OURS._replace(ids=10_000): {"milliseconds": 20.0, "training_over_table": 50.0},
    }
    growth, memory = goals(lines)
    assert (growth["ratio"], growth["at_most"], growth["met"]) == (1.3, 1.3, True)
    assert (memory["ratio"], memory["at_most"], memory["met"]) == (3.4, 3.3, False)


def test_goals_compare_with_the_faster_peer():
    lines = {
        OURS: {"milliseconds": 10.0, "training_over_table": 3.0},
        OURS._replace(library="fuxictr"): {"milliseconds": 600.0, "training_over_table": 5.0},
        OURS._replace(library="deepctr"): {"milliseconds": 290.0, "training_over_table": 5.0},
    }
    (speed_up,) = (goal for goal in goals(lines) if "peers" in goal["goal"])
    assert (speed_up["ratio"], speed_up["at_least"], speed_up["met"]) == (29.0, 30, False)


def test_mixed_precision_is_compared_with_the_peers_float32():
    ours = Key("ctr-keras", "mixed_bfloat16", "AutoInt", 1_000_000, "zipf")
    peer = ours._replace(library="fuxictr", policy="float32")
    (speed_up,) = goals({ours: {"milliseconds": 100.0}, peer: {"milliseconds": 400.0}})
    assert (speed_up["ratio"], speed_up["at_least"], speed_up["met"]) == (4.0, 2.5, True)


def test_uniform_ids_have_a_growth_of_their_own_and_no_peers():
    uniform = OURS._replace(law="uniform")
    lines = {
        uniform: {"milliseconds": 30.0, "training_over_table": 3.0},
        uniform._replace(ids=10_000): {"milliseconds": 15.0},
        uniform._replace(library="fuxictr"): {"milliseconds": 600.0},
    }
    growth, memory = goals(lines)
    assert (growth["at_most"], growth["met"]) == (2.5, True)
    assert memory["met"]


def test_too_few_ids_are_refused():
    result = CliRunner().invoke(training_step.main, ["--ids", "38"])
    assert result.exit_code == 2
    assert "--ids" in result.output
