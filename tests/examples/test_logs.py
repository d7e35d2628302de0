"""Logs of strangers, each from `init` to a served score; the declarations are those kept."""

import difflib
import json
import re

import pytest
import yaml

from benchmarks.logs import DECLARED, OWN
from ctr_keras.data import read_samples
from ctr_keras.features import FeatureSet
from ctr_keras.training import TrainConfig, train
from pipeline.guessing import guess
from pipeline.prepare import prepare
from serving.client import Client
from serving.export import export, export_run
from tests.conftest import unavailable
from tests.parameters import first_of
from tests.prepared import keep_some_rows
from tests.serving.processes import running

LOGS = [name for name in OWN if name != "amazon_beauty"]  # whose rows are made, not logged
MAX_EDITED = 10  # lines
ROWS = 800  # of each file
RARE = {"talkingdata": 12_000}  # where a click in each split needs more


@pytest.fixture
def log(name, real_data, tmp_path):
    """The folder of a log, as `init` sees it."""
    folder, make = OWN[name]
    if not (real_data / folder).is_dir():
        unavailable("DATA", f"no {folder} in {real_data}")
    path = tmp_path / "log"
    path.mkdir()
    make(real_data / folder, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder for models, and the address of a server that looks there for them."""
    folder = tmp_path_factory.mktemp("models")
    with running(f"--models={folder}", "--file_system_poll_wait_seconds=0.1") as server:
        yield folder, f"http://{server.rest_address}"


@pytest.mark.parametrize("name", LOGS)
def test_init_writes_all_but_ten_lines(name, log):
    kept = (DECLARED / f"{name}.yaml").read_text()
    given = {"columns": yaml.safe_load(kept)["source"].get("columns", ())}
    if name == "amazon_reviews":
        given["label"] = "overall"  # nothing in it is a yes or a no
    guessed = guess(str(log), **given).text
    assert edited_lines(guessed, kept) <= MAX_EDITED


def edited_lines(before: str, after: str) -> int:
    """How many lines differ, but for comments."""
    lines = [re.sub(r"(?m)(^|  )#.*", "", text).split("\n") for text in (before, after)]
    matcher = difflib.SequenceMatcher(None, *([*filter(None, of)] for of in lines), autojunk=False)
    changes = (change[1:] for change in matcher.get_opcodes() if change[0] != "equal")
    return sum(max(i2 - i1, j2 - j1) for i1, i2, j1, j2 in changes)


# The first three are read and split in the ways that there are: lines of JSON by time, columns
# without names by files, and a table at random.
READ = sorted(LOGS, key=["amazon_reviews", "ipinyou", "coupons"].__contains__, reverse=True)


@pytest.mark.parametrize("name", first_of(READ, 3))
def test_a_part_is_prepared_trained_exported_and_served(name, log, models, tmp_path, monkeypatch):
    for path in log.iterdir():
        keep_some_rows(path, RARE.get(name, ROWS))
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    report = prepare(str(DECLARED / f"{name}.yaml"), str(log), data)
    assert report["rows"]["rejected"] == report["rows"]["filtered"] == 0
    train(TrainConfig(data=data, out=run, model="LR", epochs=1))
    # The server's scores are compared below.
    monkeypatch.setattr(export, "bless", lambda *given, **options: None)
    folder, url = models
    version = export_run(run, str(folder / name))
    samples = read_samples(data, FeatureSet.load(f"{data}/features.json"))
    with open(f"{version}/{export.SCORES_PATH}") as file:
        scores = json.load(file)["scores"]
    with Client(url) as client:
        client.wait_until_available(name, timeout=60)
        assert [*client.predict_rows(name, samples.rows)] == pytest.approx(scores, abs=1e-6)
