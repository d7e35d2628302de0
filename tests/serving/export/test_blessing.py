"""A version is published only if it serves the model's scores and ranks no worse."""

import os
import re
import shutil

import keras
import numpy as np
import pytest

from ctr_keras import metrics
from ctr_keras.data import read_samples
from ctr_keras.features import FeatureSet
from serving.export import ExportOptions, blessing, export_model
from serving.export.blessing import (
    NotBlessedError,
    OtherColumnsError,
    bless,
    score_in_fresh_process,
)
from tests.conftest import score_here
from tests.serving.click_log import scrambled, trained_model

pytestmark = pytest.mark.slow  # models are exported


@pytest.fixture(scope="module")
def features(clicks):
    return FeatureSet.load(clicks / "features.json")


@pytest.fixture(scope="module")
def samples(clicks, features):
    return read_samples(str(clicks), features)


@pytest.fixture(scope="module")
def good(clicks):
    return trained_model(clicks)


@pytest.fixture(scope="module")
def bad(good):
    return scrambled(keras.models.clone_model(good))


@pytest.fixture
def export(clicks, features, tmp_path):
    """A function that exports a model to one folder, and that folder."""
    out = tmp_path / "models" / "ctr"

    def run(model, **options):
        return export_model(model, features, str(clicks), str(out), ExportOptions(**options))

    return run, out


@pytest.fixture(scope="module")
def version(good, clicks, features, tmp_path_factory):
    """The good model's version."""
    out = tmp_path_factory.mktemp("blessed") / "ctr"
    return export_model(good, features, str(clicks), str(out), ExportOptions(force=True))


def scores_of(model, samples):
    inputs = {tensor.name: samples.inputs[tensor.name] for tensor in model.inputs}
    return model.predict(inputs, verbose=0)[:, 0]


def test_a_worse_version_is_refused_with_both_aucs_and_kept_aside(
    export, version, good, bad, samples, scored_here
):
    run, out = export
    shutil.copytree(version, out / "1")
    aucs = [metrics.auc(samples.labels[:, 0], scores_of(model, samples)) for model in (bad, good)]
    assert aucs[1] > aucs[0] + 0.1
    with pytest.raises(NotBlessedError) as refused:
        run(bad)
    message = str(refused.value)
    for part in (*(f"{auc:.5f}" for auc in aucs), f"{out}/1", f"{out}/.refused", "--force"):
        assert part in message
    assert sorted(os.listdir(out)) == [".refused", "1"]
    assert (out / ".refused" / "saved_model.pb").exists()
    assert run(bad, margin=1.0) == f"{out}/2"
    assert run(bad, force=True) == f"{out}/3"
    assert sorted(os.listdir(out)) == ["1", "2", "3"]


def test_other_scores_than_the_models_are_refused(version, good, samples, scored_here):
    expected = scores_of(good, samples)
    bless(version, None, samples, {"score": expected}, margin=0.0)
    expected[17] += 1e-4
    with pytest.raises(NotBlessedError, match=r"1 of \d+ sample rows differently .* row 18 "):
        bless(version, None, samples, {"score": expected}, margin=0.0)


def test_scores_that_are_not_finite_are_refused(export, good, scored_here):
    run, out = export
    broken = keras.models.clone_model(good)
    broken.set_weights([np.full_like(weight, np.nan) for weight in good.get_weights()])
    with pytest.raises(NotBlessedError, match="sample row 1 is nan"):
        run(broken)
    assert os.listdir(out) == [".refused"]


@pytest.fixture
def broken_copy(version, tmp_path, scored_here, monkeypatch):
    """A function that makes a copy of a version with a file cut off; a process of its own scores
    it, and no other."""

    def copy(file):
        path = tmp_path / "broken"
        shutil.copytree(version, path)
        whole = (path / file).read_bytes()
        (path / file).write_bytes(whole[: len(whole) // 2])
        return str(path)

    def score(of, rows):
        return (score_here if of == version else score_in_fresh_process)(of, rows)

    monkeypatch.setattr(blessing, "score_in_fresh_process", score)
    return copy


BROKEN = ["saved_model.pb", "variables/variables.data-00000-of-00001"]


@pytest.mark.parametrize("file", BROKEN)
def test_a_version_that_does_not_load_is_refused_in_one_line(good, samples, broken_copy, file):
    broken = broken_copy(file)
    with pytest.raises(NotBlessedError) as refused:
        bless(broken, None, samples, {"score": scores_of(good, samples)}, margin=0.0)
    line = r"the new version cannot score the sample rows: \w+: .*\w.*"
    assert re.fullmatch(line, str(refused.value))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("file", BROKEN)
def test_a_broken_version_in_place_keeps_no_good_one_away(
    version, good, samples, broken_copy, file
):
    broken = broken_copy(file)
    said = rf"compared with nothing, as the version in place, {broken}, is broken: \w+: "
    with pytest.warns(UserWarning, match=said) as warned:
        bless(version, broken, samples, {"score": scores_of(good, samples)}, margin=0.0)
    (warning,) = warned
    assert "\n" not in str(warning.message)


def test_a_column_that_the_rows_lack_is_named(version, samples):
    rows = [{k: v for k, v in row.items() if k != "age"} for row in samples.rows]
    with pytest.raises(OtherColumnsError, match="takes columns that the sample rows lack: age"):
        score_in_fresh_process(version, rows)


def test_a_version_in_place_of_other_columns_is_told_from_the_new_one(
    version, good, samples, scored_here, monkeypatch
):
    def score(of, rows):
        if of == "in-place":
            raise OtherColumnsError("takes columns that the sample rows lack: age")
        return score_here(of, rows)

    monkeypatch.setattr(blessing, "score_in_fresh_process", score)
    with pytest.raises(NotBlessedError) as refused:
        bless(version, "in-place", samples, {"score": scores_of(good, samples)}, margin=0.0)
    assert str(refused.value) == (
        "it cannot be compared with the version in place, in-place: that takes columns that the "
        "sample rows lack: age"
    )
