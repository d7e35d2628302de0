"""Models, optimizers, precisions, saved forms, callbacks and modes together: works, or refused.

Every value occurs on each backend; with `CTR_KERAS_MATRIX`, the folder of results of `make matrix`,
every pair of values does.
"""

import importlib.util
import os
import pathlib

import keras
import pytest

from tests.compatibility.axes import AXES, IS_WHOLE, tuples
from tests.compatibility.covering import covering, possible, refused_parts
from tests.compatibility.refusals import EXPECTED, refusals_of
from tests.compatibility.results import keep, kept
from tests.compatibility.trial import run

pytestmark = pytest.mark.backend

FOLDER = os.environ.get("CTR_KERAS_MATRIX")
COMBINATIONS = covering()
HERE = [one for one in COMBINATIONS if one.backend == keras.backend.backend()]
NEEDS = {"ONNX": ["tf2onnx", "onnxruntime"], "LiteRT": ["ai_edge_litert"]}


@pytest.mark.parametrize("combination", HERE, ids=str)
def test_works_or_is_refused_as_announced(combination, tmp_path):
    missing = [n for n in NEEDS.get(combination.save, []) if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"{combination.save} needs {missing[0]}")
    folder = pathlib.Path(FOLDER) if FOLDER else tmp_path
    if kept(combination, folder) is not None:
        return
    announced = refusals_of(combination)
    message = ""
    if announced:
        with pytest.raises(tuple(refusal.error for refusal in announced)) as raised:
            run(combination, tmp_path)
        message = str(raised.value)
        assert any(refusal.fits(raised.value) for refusal in announced), message
    else:
        run(combination, tmp_path)
    keep(combination, message, folder)


def test_every_value_or_pair_occurs_on_each_backend():
    """In a combination that works, and what a refusal names in one that is refused."""
    works = [set(vars(one).items()) for one in COMBINATIONS if not refusals_of(one)]
    for values in tuples():
        if "backend" in values and possible(frozenset(values.items())):
            assert any(one.issuperset(values.items()) for one in works), values
    everything = [set(vars(one).items()) for one in COMBINATIONS]
    for refusal in EXPECTED:
        for part in refused_parts(refusal):
            assert any(one.issuperset(part) for one in everything), part


def test_few_combinations_do():
    """Not many more work than the longest axes need: models or optimizers, or each with every."""
    works = [one for one in COMBINATIONS if not refusals_of(one)]
    models, optimizers = len(AXES["model"]), len(AXES["optimizer"])
    longest = models * optimizers if IS_WHOLE else max(models, optimizers)
    assert len(works) < 1.3 * longest * len(AXES["backend"])
