"""Negatives that are sampled, and groups, from a log of known click rates to scores of all rows."""

import json
import pathlib

import numpy as np
import pytest

from ctr_keras.data import click_rates, open_examples
from ctr_keras.features import GROUP, FeatureSet
from ctr_keras.features.hashing import group_numbers
from ctr_keras.training import (
    TrainConfig,
    TreesConfig,
    evaluate_run,
    train,
)
from pipeline.prepare import prepare
from tests.parameters import first_of

ROWS = 30_000
RATES = np.array([0.02, 0.04, 0.06, 0.1, 0.2])  # by site
YAML = """
source: {format: csv}
label: click
group: user name
features:
  - {kind: categorical, name: site}
  - {kind: numeric, name: number}
split: {by: random, validation: 0.2, test: 0.3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """The log, prepared with all rows and with a tenth of the negatives of the training split."""
    folder = tmp_path_factory.mktemp("sampling")
    draw = np.random.default_rng(0)
    sites, users = draw.integers(len(RATES), size=ROWS), draw.integers(50, size=ROWS)
    clicks = (draw.random(ROWS) < RATES[sites]).astype(int)
    lines = ["site,number,user name,click"]
    for i, (site, user, click) in enumerate(zip(sites, users, clicks, strict=True)):
        lines.append(f"s{site},{i / ROWS},{f'user {user}' if user else ''},{click}")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    for name, more in (("all", ""), ("tenth", "sample: {negatives: 0.1}\n")):
        (folder / f"{name}.yaml").write_text(YAML + more)
        prepare(str(folder / f"{name}.yaml"), str(folder / "log.csv"), str(folder / name))
    return folder


def report_of(folder: pathlib.Path, name: str) -> dict:
    return json.loads((folder / name / "report.json").read_text())


def rows_of(folder: pathlib.Path, name: str, split: str) -> tuple[dict, np.ndarray]:
    """The packed inputs of a split and its labels, in the order of the log."""
    features = FeatureSet.load(folder / name / "features.json")
    inputs = ["numeric", "categorical", GROUP]
    ((columns, labels),) = open_examples(str(folder / name), split, features, inputs=inputs).read(
        ROWS
    )
    order = np.argsort(columns["numeric"][:, 0])
    return {key: np.asarray(values)[order] for key, values in columns.items()}, labels[order, 0]


def test_negatives_of_the_training_split_alone_are_sampled(folder):
    every, tenth = report_of(folder, "all"), report_of(folder, "tenth")
    assert (every["negatives_kept"], tenth["negatives_kept"]) == (1.0, 0.1)
    for split in ("validation", "test"):
        assert tenth["rows"][split] == every["rows"][split]
        assert tenth["label_mean"][split] == every["label_mean"][split]
    clicks = every["rows"]["train"] * every["label_mean"]["train"]
    assert tenth["rows"]["train"] * tenth["label_mean"]["train"] == pytest.approx(clicks)
    negatives = every["rows"]["train"] - clicks
    assert tenth["rows"]["train"] - clicks == pytest.approx(0.1 * negatives, rel=0.08)
    assert tenth["filtered_because"] == {
        "label 0, left out of the sample": tenth["rows"]["filtered"]
    }
    assert sum(tenth["rows"].values()) == 2 * ROWS
    features = FeatureSet.load(folder / "tenth" / "features.json")
    assert features.label.negatives_kept == 0.1
    (click_rate,) = click_rates(str(folder / "tenth"), features)
    assert click_rate == pytest.approx(every["label_mean"]["train"], rel=0.08)


def test_the_sample_is_the_same_in_every_run_and_no_part_of_the_split(folder):
    columns, labels = rows_of(folder, "tenth", "train")
    whole, labels_of_all = rows_of(folder, "all", "train")
    is_kept = np.isin(whole["numeric"], columns["numeric"])[:, 0]
    assert is_kept[labels_of_all == 1].all()
    first, second = np.array_split(is_kept[labels_of_all == 0], 2)
    assert first.mean() == pytest.approx(second.mean(), abs=0.02)
    assert labels.sum() == labels_of_all.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "settings"),
    first_of(
        [
            ("tenth", {"model": "LR", "calibrate": False}),
            ("tenth", {"model": "LightGBM"}),
            ("tenth", {"model": "DeepFM", "calibrate": True}),
            ("all", {"model": "LR", "calibrate": False}),
        ],
        2,
    ),
    ids=str,
)
def test_scores_of_all_rows_are_as_high_as_their_click_rate(folder, tmp_path, data, settings):
    run, given = str(tmp_path / "run"), {"data": str(folder / data), **settings}
    if settings["model"] == "LightGBM":
        train(TreesConfig(out=run, **given))
    else:
        train(TrainConfig(out=run, epochs=8, batch_size=512, **given))
    # There are 9,000 rows and some 750 clicks; a model that does not know of the sample says 0.46.
    for split in ("test", "train"):
        assert evaluate_run(run, split)["calibration_ratio"] == pytest.approx(1, abs=0.12)


def test_groups_are_kept_with_their_rows_and_used_where_none_is_named(folder, tmp_path):
    columns, _ = rows_of(folder, "all", "test")
    groups = group_numbers([f"user {user}" for user in range(1, 50)])
    assert {*np.unique(columns[GROUP]).tolist()} == {0, *groups.tolist()}
    run = str(tmp_path / "run")
    report = train(TrainConfig(str(folder / "all"), "LR", run, epochs=1, monitor="auc_by_group"))
    assert 0.6 < report["validation"]["auc_by_group"] < 0.8
    tested = evaluate_run(run)
    assert tested["groups"] == 49
    assert tested["rows_without_group"] == (columns[GROUP] == 0).sum()
    assert evaluate_run(run, group="user name")["auc_by_group"] == tested["auc_by_group"]
