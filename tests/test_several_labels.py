"""Several labels, from a log to one output a label: prepared, learned, measured, exported."""

import csv
import json
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from ctr_keras import metrics
from ctr_keras.compare import Bench, compare_runs, run_bench
from ctr_keras.compare.report import write_report
from ctr_keras.data import open_examples, read_rows, read_samples
from ctr_keras.explain.pictures import expert_pictures
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import build_model
from ctr_keras.search import read_search, run_search
from ctr_keras.training import TrainConfig, evaluate_run, load_run, predict_split, train
from ctr_keras.training.stopped import description_of
from ctr_keras.tuning import Choice, TuneConfig, tune
from pipeline.datasets.declared import load_dataset
from pipeline.prepare import prepare
from serving.export.export import ExportOptions, export_run
from serving.onnx_scorer import OnnxScorer
from tests.compare.test_report import sections
from tests.prepared import made_once

LABELS = ("click", "conversion")


def write_log(folder):
    folder.mkdir()
    draw = np.random.default_rng(0)
    lines = ["user,item,click,conversion"]
    for _ in range(1500):
        user, item = draw.integers(8), draw.integers(6)
        click = draw.random() < 1 / (1 + np.exp(1 + item - user / 2))
        bought = click and draw.random() < 0.2 + 0.6 * (item % 2)
        lines.append(f"u{user},i{item},{int(click)},{int(bought)}")
    lines += ["u1,i1,1,2", "u1,i1,0,1"]
    (folder / "log.csv").write_text("\n".join(lines))
    (folder / "log.yaml").write_text(
        textwrap.dedent("""\
            source: {format: csv, files: log.csv}
            label: [click, conversion]
            features:
              - {kind: categorical, name: user}
              - {kind: categorical, name: item}
            """)
    )
    prepare(str(folder / "log.yaml"), str(folder), str(folder / "data"), max_rejected=0.01)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(made_once("several-labels", write_log, tmp_path_factory) / "data")


def run_on(data, out, model, **settings):
    settings = {"epochs": 3, "batch_size": 64, "averaging": 0.0, "learning_rate": 0.01} | settings
    arguments = {"dim": 4, "hidden": [8]}
    train(TrainConfig(data=data, model=model, out=str(out), model_args=arguments, **settings))
    return str(out)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return run_on(data, tmp_path_factory.mktemp("runs") / "esmm", "ESMM")


def test_each_label_is_read_as_the_only_one_is_and_counted(data):
    with open(f"{data}/report.json", encoding="utf-8") as file:
        report = json.load(file)
    assert any("label conversion is '2'" in why for why in report["rejected_because"])
    assert report["warnings"] == [
        "1 rows have conversion without click, which ESMM does not expect"
    ]
    features = FeatureSet.load(f"{data}/features.json")
    assert features.label_names == LABELS
    _, labels = read_rows(data, "train", features, 10_000)
    means = [report["label_means"][name]["train"] for name in LABELS]
    np.testing.assert_allclose(labels.mean(axis=0), means, rtol=1e-5)


@pytest.mark.parametrize("names", [LABELS, ["conversion"], ["conversion", "click"]])
def test_batches_have_the_labels_that_are_asked_for(data, names, tmp_path):
    features = FeatureSet.load(f"{data}/features.json")
    expected = dict(zip(LABELS, read_rows(data, "test", features, 500)[1].T, strict=True))
    chosen = features.with_labels(names)
    for cache in ("", str(tmp_path)):
        examples = open_examples(data, "test", chosen, cache=cache)
        labels = np.concatenate([of for _, of in examples.read(100)])
        for name, column in zip(names, labels.T, strict=True):
            np.testing.assert_array_equal(column, expected[name])


def test_each_label_is_measured(run, data):
    measured = evaluate_run(run)["labels"]
    model, features, _ = load_run(run)
    labels, scores = predict_split(model, features, data, "test")
    for place, name in enumerate(LABELS):
        assert measured[name]["auc"] == metrics.auc(labels[:, place], scores[:, place])
        assert measured[name]["auc"] > 0.6


def test_validation_has_each_label_and_their_mean(run):
    with open(f"{run}/metrics.json", encoding="utf-8") as file:
        validation = json.load(file)["validation"]
    of_labels = [validation[f"log_loss_{name}"] for name in LABELS]
    assert validation["log_loss"] == pytest.approx(np.mean(of_labels))


def test_each_label_is_calibrated(run, data):
    with open(f"{run}/metrics.json", encoding="utf-8") as file:
        report = json.load(file)
    model, features, _ = load_run(run)
    names = [[f"calibration_{of}_{label}" for label in LABELS] for of in ("scale", "shift")]
    score = model.get_layer("score")
    assert [score.scale, score.shift] == [[report[name] for name in of] for of in names]
    labels, scores = predict_split(model, features, data, "validation")
    np.testing.assert_allclose(scores.mean(axis=0), labels.mean(axis=0), rtol=0.15)
    for place, name in enumerate(LABELS):
        measured = metrics.log_loss(labels[:, place], scores[:, place])
        assert report["validation"][f"log_loss_{name}"] == pytest.approx(measured, abs=1e-5)


def test_a_model_of_one_label_is_compared_with_one_of_several(run, data, tmp_path):
    other = run_on(data, tmp_path / "fnn", "FNN", labels=["conversion"])
    comparison = compare_runs([run, other], label="conversion", replicates=20)
    assert {entry.name for entry in comparison.entries} == {"ESMM", "FNN"}
    with pytest.raises(ValueError, match="fnn predicts conversion, not 'click'"):
        compare_runs([run, other])


def test_a_comparison_shows_the_rounds_of_its_label(run):
    with open(f"{run}/history.csv", encoding="utf-8", newline="") as file:
        expected = [float(row["validation_auc_conversion"]) for row in csv.DictReader(file)]
    comparison = compare_runs([run], label="conversion", replicates=5)
    history = comparison.best.runs[0].history
    assert [row["validation_auc"] for row in history] == expected
    assert "train_log_loss" not in history[0]  # it is of all labels
    assert comparison.to_dict()["label"] == "conversion"


def test_the_report_of_a_run_shows_each_label(run):
    page, shown = sections(write_report(run))
    kinds = ("metrics", "learning-curves", "calibration", "roc")
    assert [name for name in shown if not name.startswith("importance")] == [
        *(f"{kind}-{label}" for label in LABELS for kind in kinds),
        "settings",
    ]
    assert f"{evaluate_run(run)['labels']['conversion']['auc']:.4g}" in page.text


def test_shares_of_experts_are_shown_by_label(data):
    features = FeatureSet.load(f"{data}/features.json")
    model = build_model("PLE", features, dim=2, hidden=[3], shared_experts=1, task_experts=1)
    rows = read_rows(data, "test", features, 50)
    first, second = expert_pictures(model, features, rows)
    assert (first.name, second.name) == ("experts_0", "experts_1")
    experts = [(label, expert) for label, expert, _ in second.rows]
    assert experts == [
        *(("click", "task_0_expert_0"), ("click", "shared_expert_0")),
        *(("conversion", "task_1_expert_0"), ("conversion", "shared_expert_0")),
    ]
    layer = model.get_layer("experts_1")
    _, gates = layer(keras.Model(model.input, layer.input)(rows[0]), return_gates=True)
    expected = np.concatenate([np.array(gate).mean(axis=0) for gate in gates])
    np.testing.assert_allclose([share for *_, share in second.rows], expected, rtol=1e-5)


def test_what_a_round_has_reached_is_said_to_be_a_mean(run):
    with open(f"{run}/history.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    row = {name: float(value) for name, value in row.items() if value}
    said = description_of(row, load_run(run)[2])
    mean = row["validation_log_loss"]
    assert said.startswith(f"validation, mean of 2 labels: log loss {mean:.5f}, AUC ")


def test_several_labels_need_a_model_of_several(data, tmp_path):
    with pytest.raises(ValueError, match=r"FNN predicts one label, .*labels=\[click\].*ESMM"):
        run_on(data, tmp_path / "run", "FNN")
    assert not (tmp_path / "run").exists()


def test_runs_of_a_bench_learn_the_label_that_is_set(data, tmp_path):
    settings = ["labels=[conversion]", "epochs=1", "LightGBM.num_iterations=3"]
    bench = Bench(data, ["LR", "LightGBM"], str(tmp_path), seeds=1, overrides=settings)
    finished, failed = run_bench(bench, print)
    assert (len(finished), failed) == (2, {})
    assert {load_run(of)[1].label_names for of in finished} == {("conversion",)}


@pytest.mark.parametrize(
    ("model", "settings", "names"),
    [
        ("LR", {"labels": ["conversion"]}, ("conversion",)),
        ("MMoE", {"label_weights": {"conversion": 3.0}, "model_args": {"hidden": [4]}}, LABELS),
    ],
)
def test_a_study_learns_the_labels_that_are_set(data, tmp_path, model, settings, names):
    base = TrainConfig(data=data, model=model, out=str(tmp_path), epochs=1, **settings)
    report = tune(TuneConfig(base, {"learning_rate": Choice([0.01, 0.05])}, 1, 1, finalists=1))
    _, features, _ = load_run(str(tmp_path / "finalists" / "0000" / "seed-1"))
    assert features.label_names == names
    ((reached, _),) = report["finalists"].values()
    assert report["seeds"]["validation"]["log_loss"][0] == pytest.approx(reached, abs=1e-6)


def test_a_study_refuses_labels_and_weights_that_do_not_go_with_its_model(data, tmp_path):
    for model, settings, message in (
        ("FNN", {}, r"FNN predicts one label, .*labels=\[click\]"),
        ("MMoE", {"label_weights": {"clik": 2.0}}, "no label 'clik'; did you mean 'click'"),
    ):
        base = TrainConfig(data=data, model=model, out=str(tmp_path / "study"), **settings)
        with pytest.raises(ValueError, match=message):
            tune(TuneConfig(base, {"learning_rate": Choice([0.01, 0.05])}, 1, 1))
        assert not (tmp_path / "study").exists()


def test_a_search_of_several_labels_is_refused_by_what_can_be_done(data, tmp_path):
    message = r"one label, .* click, conversion: prepare data with one, .*`label: click`"
    with pytest.raises(ValueError, match=message):
        run_search("autofis", read_search("autofis", base="FM"), data, str(tmp_path / "search"))
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["purchase"]}, "unknown label 'purchase'"),
        (
            {"label_weights": {"conversoin": 2.0}},
            "no label 'conversoin'; did you mean 'conversion'",
        ),
        ({"label_weights": {"click": 0.0, "conversion": 0.0}}, "label_weights are all 0"),
        ({"pairwise_weight": 1.0, "group": "user"}, "pairwise_weight needs one label"),
    ],
)
def test_settings_that_do_not_go_with_the_labels_are_refused(data, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run_on(data, tmp_path / "run", "MMoE", **settings)


def test_an_exported_model_has_an_output_a_label(run, data, tmp_path, scored_here):
    version = export_run(run, str(tmp_path / "esmm"))
    serve = tf.saved_model.load(version).signatures["serving_default"]
    assert {*serve.structured_outputs} == {*LABELS}
    model, features, _ = load_run(run)
    samples = read_samples(data, features)
    raw = {name: tf.constant([row[name] for row in samples.rows]) for name in ("user", "item")}
    scores = np.asarray(model(samples.inputs))
    for place, name in enumerate(LABELS):
        np.testing.assert_allclose(serve(**raw)[name], scores[:, place], atol=1e-6)


def test_an_onnx_version_has_an_output_a_label(run, data, tmp_path):
    version = export_run(run, str(tmp_path / "esmm"), ExportOptions(format="onnx"))
    scorer = OnnxScorer(version)
    assert scorer.names == LABELS
    model, features, _ = load_run(run)
    samples = read_samples(data, features)
    expected = np.asarray(model(samples.inputs))
    np.testing.assert_allclose(scorer.score(samples.rows), expected, rtol=0, atol=1e-6)


def test_a_feature_set_of_one_label_is_written_as_ever():
    one = FeatureSet(Categorical("a"), label=[Label("click")])
    assert one == FeatureSet(Categorical("a"), label=Label("click"))
    assert "more_labels" not in one.to_dict()
    several = FeatureSet(Categorical("a"), label=[Label("click"), Label("buy", positive=["yes"])])
    assert FeatureSet.from_dict(several.to_dict()) == several


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("[click, click]", "'click' is declared twice"),
        ("[click, {column: x, positiv: [a]}]", "line 2: .*positiv"),
        ("[]", "label is empty"),
        ("[click, a]", "'a' is declared twice"),
    ],
)
def test_wrong_lists_of_labels_are_refused(tmp_path, label, message):
    path = tmp_path / "log.yaml"
    path.write_text(
        f"source: {{format: csv}}\nlabel: {label}\nfeatures: [{{kind: categorical, name: a}}]\n"
    )
    with pytest.raises(ValueError, match=message):
        load_dataset(str(path))


def test_a_sample_of_rows_goes_with_one_label_alone():
    labels = [Label("click", negatives_kept=0.1), Label("buy")]
    with pytest.raises(ValueError, match=r"without click does not go with a second label, 'buy'"):
        FeatureSet(Categorical("a"), label=labels)
