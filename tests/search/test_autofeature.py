"""AutoFeature's structures and tree, and that its search finds pairs that mean something."""

import csv

import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras.explain import plan_of_model
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.plan import Cell, InteractionPlan
from ctr_keras.search import AutoFeatureSearch, RandomSelection, StatisticsSelection
from ctr_keras.search.naive_bayes import NaiveBayes, best_region
from ctr_keras.search.structures import Structures
from ctr_keras.search.verdict import of_structures, read_verdicts
from ctr_keras.settings import SettingError
from ctr_keras.training import load_run
from tests.data.shards import write_prepared
from tests.search.commands import run

TOWER = {"dim": 2, "hidden": [3]}


# Structures.


def test_genes_say_which_operation_and_which_nodes_and_none_ends_a_cell():
    space = Structures(pairs=3, blocks=3)
    assert space.choices.tolist() == [5, 5, 3, 5, 6]
    genes = np.array([[2, 3, 1, 1, 5], [0, 0, 0, 0, 0], [4, 0, 0, 0, 0]])
    assert space.cells(genes) == {
        0: (("multiply", 0, 1), ("concatenate", 0, 2), ("add", 2, 3)),
        2: (("product", 0, 1),),
    }


def test_random_structures_have_any_share_of_cells_and_nothing_behind_an_end():
    space, draw = Structures(pairs=20, blocks=3), np.random.default_rng(0)
    every = [space.drawn(draw) for _ in range(200)]
    counts = [(genes[:, 0] > 0).sum() for genes in every]
    assert min(counts) == 1
    assert max(counts) == 20
    assert abs(np.mean(counts) - 10.5) < 1.5
    for genes in every:
        assert (genes < space.choices).all()
        assert not genes[genes[:, 0] == 0].any()
        assert not genes[genes[:, 1] == 0, 1:].any()
    assert {row[0] for genes in every for row in genes.tolist()} == set(range(5))


def test_a_child_has_each_pairs_cell_from_a_parent_but_for_mutations():
    space, draw = Structures(pairs=50, blocks=2), np.random.default_rng(0)
    parents = space.drawn(draw), space.drawn(draw)
    child = space.child(parents, 0.0, draw)
    from_first, from_second = ((child == parent).all(axis=1) for parent in parents)
    assert (from_first | from_second).all()
    assert not from_first.all()
    assert not from_second.all()
    mutated = space.child((parents[0], parents[0]), 0.3, draw)
    assert 5 < (mutated != parents[0]).any(axis=1).sum() < 25


# The tree.


def test_naive_bayes_weighs_each_gene_by_its_counts():
    structures = np.array([[0, 1], [0, 0], [1, 1], [1, 0], [1, 1]])
    is_good = np.array([True, True, False, False, False])
    classifier = NaiveBayes(structures, is_good, np.array([2, 3]))
    for structure in ([0, 0], [0, 1], [1, 0], [1, 1], [0, 2]):
        odds = 2 / 3
        for gene, choices in enumerate((2, 3)):
            same = structures[:, gene] == structure[gene]
            odds *= ((same & is_good).sum() + 1) / (2 + choices)
            odds /= ((same & ~is_good).sum() + 1) / (3 + choices)
        assert classifier.is_good(np.array([structure]))[0] == (odds > 1), structure


def test_the_best_region_is_that_of_the_gene_that_lowers_the_loss():
    draw = np.random.default_rng(0)
    structures = draw.integers(0, 3, (60, 5))
    losses = 0.5 - 0.1 * (structures[:, 2] == 1) + 0.001 * draw.normal(size=60)
    region = best_region(structures, losses, np.full(5, 3), least=4)
    assert len(region.rows) >= 4
    assert (structures[region.rows, 2] == 1).all()
    assert all(region.holds(structures[row]) for row in region.rows)
    others = draw.integers(0, 3, (200, 5))
    inside = [genes[2] for genes in others if region.holds(genes)]
    assert inside.count(1) > 0.9 * len(inside) > 0


def test_structures_of_one_loss_are_one_region():
    region = best_region(np.zeros((8, 2), int), np.ones(8), np.array([2, 2]), least=2)
    assert len(region.rows) == 8
    assert region.holds(np.array([1, 1]))


# The search.


@pytest.mark.slow
@pytest.mark.whole  # sixteen trainings; what the tree does is tested above
def test_the_pairs_that_matter_have_cells():
    rows = {"train_rows": 6000, "validation_rows": 3000, "test_rows": 10}
    data = planted_clicks([(0, 1), (2, 3)], fields=5, linear=0.0, noise=0.3, **rows)
    few = {"structures": 16, "random_structures": 8}
    search = AutoFeatureSearch(**few, model_args={"dim": 4, "hidden": [16]}, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert {("f0", "f1"), ("f2", "f3")} <= {cell.fields for cell in plan.cells}


def small():
    return planted_clicks(
        [(0, 1)], fields=3, categories=4, train_rows=200, test_rows=100, crossed=True
    )


def quick(**changes):
    settings = {"structures": 4, "random_structures": 2, "epochs": 1, "batch_size": 100}
    return AutoFeatureSearch(**settings | {"verbose": False, "model_args": TOWER} | changes)


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_killed_and_given_again_it_finds_the_same_among_fields_that_are_not_crossed(
    tmp_path, monkeypatch
):
    data = small()
    plan = quick().search(data.features, data.train, data.test, str(tmp_path / "whole"))
    assert {name for cell in plan.cells for name in cell.fields} <= {"f0", "f1", "f2"}
    original, left = AutoFeatureSearch.make_optimizer, iter(range(3))

    def killed(self, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(AutoFeatureSearch, "make_optimizer", killed)
    with pytest.raises(KeyboardInterrupt):
        quick().search(data.features, data.train, data.test, str(tmp_path / "killed"))
    monkeypatch.undo()
    again = quick().search(data.features, data.train, data.test, str(tmp_path / "killed"))
    assert again == plan
    with open(tmp_path / "whole" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["drawn"] for row in rows] == 2 * ["at random"] + 2 * ["by the tree"]
    losses = [float(row["validation_log_loss"]) for row in rows]
    assert int(rows[int(np.argmin(losses))]["cells"]) == len(plan.cells)
    for folder in ("whole", "killed"):
        (verdict,) = read_verdicts(str(tmp_path / folder))
        assert verdict.facts["losses"] == pytest.approx(losses, rel=1e-5)


def test_its_verdict_says_whether_the_tree_has_learned():
    plan = InteractionPlan([], cells=[Cell(("a", "b"))])
    better = of_structures(1, plan, [0.5, 0.6, 0.4, 0.41], 2, pairs=3)
    assert better.says == [
        "keeps cells of 1 of 3 pairs",
        "validation log loss 0.40000, of 2 random structures 0.55000 on average and 0.50000 at "
        "best, of 2 from the tree 0.40500 and 0.40000",
    ]
    assert (
        "is no better than what is random"
        in of_structures(1, plan, [0.5, 0.6, 0.55, 0.56], 2, 3).says[2]
    )
    random = of_structures(1, plan, [0.3, 0.6, 0.6, 0.31, 0.32], 3, 3)
    assert "the best structure is a random one" in random.says[2]
    assert len(of_structures(1, plan, [0.5], 1, 3).says) == 2


def test_from_the_command_line_with_verdict_pictures_and_a_run(tmp_path):
    prepared = write_prepared(tmp_path / "data", {"train": 200, "validation": 60, "test": 60})

    few = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "batch_size=50")
    out = tmp_path / "search"
    found = run("search", "--data", prepared, "--method", "autofeature", "--out", out, *few,
                "--set", "structures=2", "--set", "random_structures=2")  # fmt: skip
    plan = InteractionPlan.load(out / "plan.json")
    assert found.stdout == plan.summary() + "\n"
    assert "structure 2 of 2:" in found.stderr
    pictures = run("explain", "--run", out, "--out", tmp_path / "pictures", "--other", out).stdout
    for name in ("agreement", "cells", "structures-1"):
        assert f"{name}.png" in pictures
    trained = tmp_path / "run"
    run("train", "--data", prepared, "--model", "AutoFeature", "--out", trained, *few,
        "--set", f"interactions={out}/plan.json")  # fmt: skip
    model, features, _ = load_run(str(trained))
    built = plan_of_model(model, features).cells
    assert [(one.fields, one.blocks) for one in built] == [
        (one.fields, one.blocks) for one in plan.cells
    ]


def test_random_cells_have_other_pairs_and_statistics_select_none():
    features = FeatureSet(*map(Categorical, "abcd"), label=Label("y"))
    like = InteractionPlan([], cells=[Cell(("a", "b")), Cell(("b", "c"), [("add", 0, 1)])])
    found = RandomSelection(like=like, seed=1).search(features).cells
    assert [cell.blocks for cell in found] == [cell.blocks for cell in like.cells]
    assert len({cell.fields for cell in found}) == 2
    assert {name for cell in found for name in cell.fields} <= {*"abcd"}
    with pytest.raises(ValueError, match="the plan is one of cells"):
        StatisticsSelection(like=like).search(features, ({}, []), ({}, []))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_structures": 41}, "random_structures must be at most structures=40, got 41"),
        ({"bilevel": True}, "autofeature has no gates to learn: set bilevel=false"),
        ({"blocks": 5}, "blocks"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        AutoFeatureSearch(**settings)
