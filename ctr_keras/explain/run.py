"""The pictures of a run: which ones it has, and the folder they go to."""

import math
import os
from typing import TYPE_CHECKING, NamedTuple

import keras
import yaml

from ctr_keras.data import read_rows
from ctr_keras.explain.explainer import Explainer
from ctr_keras.explain.folder import check_out, check_packages, write_page
from ctr_keras.explain.plans import plan_of_model
from ctr_keras.features import FeatureSet
from ctr_keras.layers import CompactEmbedding
from ctr_keras.models import model_arguments
from ctr_keras.plan import InteractionPlan
from ctr_keras.runs import held
from ctr_keras.search.gates import candidate_fields
from ctr_keras.search.verdict import read_verdicts
from ctr_keras.training.evaluation import check_same_features, data_of, load_run

if TYPE_CHECKING:  # it needs the packages for plots
    from ctr_keras.explain.page import Picture


def explain_run(
    run: str,
    out: str,
    rows: int = 100_000,
    case: int = 0,
    data: str | None = None,
    other: str | None = None,
) -> list[str]:
    """Draws what a run can say of itself: PNG files, and one page that holds them all.

    - The result of a search, or a model built from one: gates by pair, gates over statistics_AUC,
      embedding widths, AutoGroup's groups, AutoFeature's cells; for OptInter the chosen methods
      next to the mutual information.
    - How a search went: its verdicts, gates over the rounds, validation loss as gates close, and
      what each interaction is worth; of AutoFeature the validation loss of its structures.
    - AutoInt: the attention in one row, and on average. MIAN: the global module's weights.

    The folder appears under its name only when it is whole; an earlier explanation is replaced.

    Args:
        run: str. The folder of a search or a training run.
        out: str. The folder to write.
        rows: int. Rows to count and average over, of each split, at most. Defaults to `100000`.
        case: int. The row of the test split whose attention is shown. Defaults to `0`.
        data: str or None. Prepared data. Defaults to `None`: those of the run.
        other: str or None. The folder of another search, or its plan, to see how far the two agree.
            Defaults to `None`: none.

    Returns:
        Paths of the files, the page `index.html` last.

    Raises:
        FileNotFoundError: if `run` is no finished run, or the data are not there.
        ValueError: if the run has nothing to show, `out` holds something else, or there is no such
            row.
        ModuleNotFoundError: without the packages of `ctr-keras[plots]`.
    """
    if rows < 1 or not 0 <= case < rows:
        raise ValueError(
            f"rows must be at least 1 and case below them, got rows={rows} and case={case}"
        )
    check_packages()
    check_out(out)
    subject = _read(run, data)
    pictures = _compared(run, subject, other) if other else []
    pictures += _draw(run, subject, rows, case)
    name = os.path.basename(os.path.abspath(run))
    return write_page(out, f"What {name} has learned", subject.facts, pictures)


class _Subject(NamedTuple):
    """What is to be explained."""

    features: FeatureSet
    data: str
    plan: InteractionPlan
    dim: int  # width of embeddings before a search for it
    model: keras.Model | None
    facts: list[tuple[str, str]]


def _read(run: str, data: str | None) -> _Subject:
    """The plan of a search, or the model of a training run and the plan in it."""
    if held(run) != "run":
        return _read_search(run, data)
    model, features, config = load_run(run)
    data = data_of(run, config.data, data)
    plan = plan_of_model(model, features)
    found = plan.interactions or plan.values
    if not found and config.model_args.get("interactions"):  # a model without gates
        plan = InteractionPlan.load(config.model_args["interactions"])
    dims = [layer.dim for layer in model.layers if isinstance(layer, CompactEmbedding)]
    facts = [("model", config.model), ("data", data)]
    return _Subject(features, data, plan, max(dims, default=0), model, facts)


def _read_search(run: str, data: str | None) -> _Subject:
    for name in ("config.yaml", "features.json", "plan.json"):
        if not os.path.exists(os.path.join(run, name)):
            raise FileNotFoundError(
                f"{run} holds neither a finished search nor a run: there is no {name}"
            )
    with open(os.path.join(run, "config.yaml"), encoding="utf-8") as file:
        settings = yaml.safe_load(file)
    data = data_of(run, settings["data"], data)
    features = FeatureSet.load(os.path.join(run, "features.json"))
    plan = InteractionPlan.load(os.path.join(run, "plan.json"))
    plan.check(features.field_names)
    facts = [("search", settings["method"]), ("data", data), *_verdicts(run)]
    dim = 0
    if plan.kept_dims:
        dim = settings["model_args"].get("dim", model_arguments("FM")["dim"])
    return _Subject(features, data, plan, dim, None, facts)


def _verdicts(run: str) -> list[tuple[str, str]]:
    """What the stages of a search say of themselves."""
    return [
        (f"verdict on stage {verdict.stage}", ". ".join(verdict.says) + ".")
        for verdict in read_verdicts(run)
    ]


def _compared(run: str, subject: _Subject, other: str) -> "list[Picture]":
    from ctr_keras.explain.agreement import agreement_picture

    path = os.path.join(other, "plan.json") if os.path.isdir(other) else other
    plan = InteractionPlan.load(path)
    plan.check(subject.features.field_names)
    fields = len(candidate_fields(subject.features))
    orders = {i.order for i in (*subject.plan.interactions, *plan.interactions)}
    orders |= {len(cell.fields) for cell in (*subject.plan.cells, *plan.cells)}
    orders |= {1} if plan.fields or plan.values else set()
    every = 2**fields - 1  # a group may have any fields
    possible = every if plan.groups else sum(math.comb(fields, order) for order in orders)
    names = (os.path.basename(os.path.normpath(run)), os.path.basename(os.path.normpath(other)))
    return [agreement_picture(subject.plan, plan, names, possible)]


def _draw(run: str, subject: _Subject, rows: int, case: int) -> "list[Picture]":
    from ctr_keras.explain import pictures as draw
    from ctr_keras.explain.searches import search_pictures

    features, plan, model = subject.features, subject.plan, subject.model
    check_same_features(features, subject.data)
    test = read_rows(subject.data, "test", features, rows)
    if case >= len(test[1]):
        raise ValueError(f"case must be below the {len(test[1])} test rows, got {case}")
    pictures = draw.gate_pictures(plan, features) + draw.width_pictures(plan, features, subject.dim)
    if plan.interactions:
        train = read_rows(subject.data, "train", features, rows)
        pictures += draw.statistics_pictures(plan, features, train, test)
        pictures += draw.method_pictures(plan, features, train)
    pictures += search_pictures(run)
    if model is not None:
        explainer = Explainer(model, features)
        pictures += draw.attention_pictures(explainer, test, case)
        pictures += draw.global_pictures(explainer, test)
        pictures += draw.expert_pictures(model, features, test)
    if not pictures:
        raise ValueError(
            f"{run} has nothing to show. There are pictures of gated interactions, OptInter's "
            "methods, searched embedding widths, AutoGroup's groups, AutoFeature's cells, "
            "AutoInt's attention, MIAN's global module and the experts of MMoE and PLE"
        )
    return pictures
