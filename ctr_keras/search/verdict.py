"""What a search says of itself: how far gates have moved, how stable they are, what to change."""

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ctr_keras.metrics import rank_correlation
from ctr_keras.plan import METHODS, InteractionPlan
from ctr_keras.runs import Row, write_table, write_whole
from ctr_keras.search.closing import Tried, largest
from ctr_keras.types import Array

VERDICT, GATES, KEPT = "verdict.json", "gates.csv", "kept.csv"
_KEPT = ("fields", "function", "gate", "effect")  # what is said of what is kept
_STILL = 0.1  # a spread of gates below this share of their mean tells nothing apart
_STABLE = 0.8  # the share of the kept gates that were among the largest half way
_MOST = 0.5  # the share of gates above which little was chosen
_AS_DRAWN = 0.9  # a correlation with the random start above this one says that it still decides
_NOTHING = (
    "nothing was found: without any, validation rows are predicted as well but for noise, and the "
    "plain model may be better. If there should be something, set more epochs or a larger "
    "learning_rate, or keep=K"
)


@dataclasses.dataclass(frozen=True)
class Course:
    """Gates over the rounds of a stage.

    Args:
        names: list of str. What each gate is of; none where nothing is known before the end.
        values: array `(rounds + 1, gates)`, the start first.
    """

    names: Sequence[str]
    values: Array

    @property
    def start(self) -> Array:
        """The gates before the first step."""
        start: Array = self.values[0]
        return start

    @property
    def halfway(self) -> Array:
        """The gates after half of the rounds."""
        halfway: Array = self.values[len(self.values) // 2]
        return halfway

    @property
    def end(self) -> Array:
        """The gates after the last round that counts."""
        end: Array = self.values[-1]
        return end


NO_GATES = Course([], np.zeros((1, 0)))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a stage says of itself.

    Args:
        stage: int. Its number.
        says: list of str. In words.
        facts: dict. In numbers, ready for JSON.
        kept: list of dict. The interactions that are kept: `fields`, `function`, `gate`, and
            `effect`, by how much validation log loss grows without it. Defaults to none.
    """

    stage: int
    says: Sequence[str]
    facts: Mapping[str, Any]
    kept: Sequence[Mapping[str, Any]] = ()

    def saying(self, more: str) -> "Verdict":
        """The same with one thing more in words."""
        return dataclasses.replace(self, says=[*self.says, more])

    def with_kept(
        self, rows: Iterable[tuple[Sequence[str], str, float, float | None]]
    ) -> "Verdict":
        """The same with what is kept, the worthiest first.

        Args:
            rows: list of tuple. Fields, function, gate and effect; where effects are None, as there
                were no rows to judge by, the largest gate counts as the worthiest.
        """
        kept = [
            dict(zip(_KEPT, (list(fields), function, float(gate), effect), strict=True))
            for fields, function, gate, effect in rows
        ]
        kept.sort(key=_worth, reverse=True)
        return dataclasses.replace(self, kept=kept)

    def save(self, folder: str, course: Course) -> None:
        """Adds it to those of the stages before: `verdict.json`, `kept.csv`, `gates.csv`."""
        before = [one for one in read_verdicts(folder) if one.stage < self.stage]
        verdicts = [dataclasses.asdict(one) for one in (*before, self)]
        text = json.dumps(verdicts, indent=2) + "\n"
        write_whole(os.path.join(folder, VERDICT), lambda file: file.write(text))
        kept = [
            {"stage": one["stage"], **row, "fields": " x ".join(row["fields"])}
            for one in verdicts
            for row in one["kept"]
        ]
        if kept:
            write_table(os.path.join(folder, KEPT), kept)
        if not course.names:
            return
        gates = [row for row in _read_gates(folder) if int(row["stage"]) < self.stage]
        gates += [
            {"stage": self.stage, "round": number, "gate": name, "value": value}
            for number, values in enumerate(course.values.tolist())
            for name, value in zip(course.names, values, strict=True)
        ]
        write_table(os.path.join(folder, GATES), gates)


def _worth(kept: Mapping[str, Any]) -> float:
    effect = kept["effect"]
    return float(abs(kept["gate"]) if effect is None else effect)


def read_verdicts(folder: str) -> list[Verdict]:
    """The verdicts of a search's stages; none of one that an earlier version made."""
    path = os.path.join(folder, VERDICT)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [Verdict(**one) for one in json.load(file)]


def read_courses(folder: str) -> dict[int, Course]:
    """The gates over the rounds of a search's stages, by the number of the stage."""
    rows = _read_gates(folder)
    courses = {}
    for stage in sorted({int(row["stage"]) for row in rows}):
        own = [row for row in rows if int(row["stage"]) == stage]
        names = [row["gate"] for row in own if row["round"] == "0"]
        values = np.array([float(row["value"]) for row in own]).reshape(-1, len(names))
        courses[stage] = Course(names, values)
    return courses


def _read_gates(folder: str) -> list[Row]:
    path = os.path.join(folder, GATES)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of_gates(
    stage: int, course: Course, is_open: Array, tried: Sequence[Tried], hint: str
) -> Verdict:
    """The verdict on gates under a threshold.

    Args:
        stage: int. Number of the stage.
        course: Course.
        is_open: bool array. The gates that are kept.
        tried: list of Tried. Validation rows by count of open gates; empty without any.
        hint: str. What to do where the threshold has closed all gates.
    """
    kept, count = int(is_open.sum()), len(is_open)
    end = np.abs(course.end)
    spread = float(end.std() / end.mean()) if end.any() else 0.0
    halfway = largest(course.halfway, kept)
    stable = float((halfway & is_open).sum() / kept) if kept else float("nan")
    facts = {
        "gates": count,
        "kept": kept,
        "mean_at_start": float(np.abs(course.start).mean()),
        "mean": float(end.mean()),
        "spread": spread,
        "open_before_closing": int((course.end != 0).sum()),
        "rank_correlation_with_halfway": rank_correlation(np.abs(course.halfway), end),
        "kept_halfway": stable,
        "tried": [dataclasses.asdict(one) for one in tried],
    }
    says = [f"keeps {kept} of {count} gates"]
    if tried:
        says += _losses(tried, kept)
    if kept and stable < _STABLE:
        says.append(
            f"{stable:.0%} of them were among the {kept} largest half way: more epochs may change "
            "the choice"
        )
    says += _advice(facts, bool(tried), hint)
    return Verdict(stage, says, _json(facts))


def _losses(tried: Sequence[Tried], kept: int) -> list[str]:
    nearest = min(tried, key=lambda one: abs(one.gates - kept))
    none, every = tried[0], tried[-1]
    return [
        f"validation log loss {nearest.log_loss:.5f} with them, {none.log_loss:.5f} with none, "
        f"{every.log_loss:.5f} with all that are open"
    ]


def _advice(facts: Mapping[str, Any], is_judged: bool, hint: str) -> list[str]:
    if not facts["open_before_closing"]:
        return [f"nothing is left: the threshold closed all gates. {hint}"]
    says = []
    if facts["spread"] < _STILL:
        says.append(
            f"little was learned: gates differ by {facts['spread']:.1%} of their mean. More epochs "
            "or a larger learning_rate tell them apart"
        )
    if not facts["kept"] and is_judged:
        says.append(_NOTHING)
    if facts["kept"] == facts["gates"]:
        says.append(
            "nothing was left out: keep=K keeps the K largest gates, and a larger c of GRDA or "
            "penalty of OptFS closes more"
        )
    elif facts["kept"] > _MOST * facts["gates"]:
        says.append(
            "more than half are kept: the plain model may be as good or better, and keep=K keeps "
            "fewer"
        )
    return says


def of_values(stage: int, plan: InteractionPlan, sizes: Array, tried: Sequence[Tried]) -> Verdict:
    """The verdict on OptFS' values.

    Args:
        stage: int. Number of the stage.
        plan: InteractionPlan of values.
        sizes: array. The gates of all values, 0 for those that training has closed.
        tried: list of Tried. Validation rows by count of open gates; empty without any.
    """
    by_vocabulary = {name: int(values.sum()) for name, values in plan.values.items()}
    kept = sum(by_vocabulary.values())
    facts = {
        "gates": len(sizes),
        "kept": kept,
        "kept_of": by_vocabulary,
        "open_before_closing": int((sizes != 0).sum()),
        "spread": float(sizes.std() / sizes.mean()) if sizes.any() else 0.0,
        "tried": [dataclasses.asdict(one) for one in tried],
    }
    says = [f"keeps {kept} of {len(sizes)} values"]
    if tried:
        says += _losses(tried, kept)
    nothing = [name for name, count in by_vocabulary.items() if not count]
    if nothing and kept:
        says.append(f"none is kept of {', '.join(nothing)}")
    says += _advice(facts, bool(tried), "Set a smaller penalty")
    return Verdict(stage, says, facts)


def of_choices(stage: int, plan: InteractionPlan, tried: Sequence[Tried]) -> Verdict:
    """The verdict on OptInter's methods that validation rows have chosen: of the pairs that are
    not left alone, the gates are what each is worth to them."""
    counts = {method: sum(i.function == method for i in plan.interactions) for method in METHODS}
    kept = len(plan.interactions) - counts["naive"]
    facts = {
        "pairs": len(plan.interactions),
        **counts,
        "kept": kept,
        "tried": [dataclasses.asdict(one) for one in tried],
    }
    says = [", ".join(f"{count} {method}" for method, count in counts.items())]
    says += _losses(tried, kept)
    if not kept:
        says.append(_NOTHING)
    treated = (i for i in plan.interactions if i.function != "naive")
    rows = ((i.fields, i.function, i.gate, i.gate) for i in treated)
    return Verdict(stage, says, facts).with_kept(rows)


def of_structures(
    stage: int, plan: InteractionPlan, losses: Sequence[float], random: int, pairs: int
) -> Verdict:
    """The verdict on AutoFeature's structures: whether those from its tree are better.

    Args:
        stage: int. Number of the stage.
        plan: InteractionPlan of the best structure's cells.
        losses: list of float. Validation log loss of the structures, in their order.
        random: int. How many of them were random, the first ones.
        pairs: int. How many pairs may have a cell.
    """
    first, later = np.array(losses[:random]), np.array(losses[random:])
    gain, error = float("nan"), float("nan")
    if len(later):
        gain = float(first.mean() - later.mean())
        error = float(np.sqrt(first.var() / len(first) + later.var() / len(later)))
    facts = {
        "pairs": pairs,
        "kept": len(plan.cells),
        "random_structures": random,
        "losses": list(losses),
        "gain": gain,
        "error_of_gain": error,
    }
    says = [f"keeps cells of {len(plan.cells)} of {pairs} pairs"]
    says.append(
        f"validation log loss {min(losses):.5f}, of {len(first)} random structures "
        f"{first.mean():.5f} on average and {first.min():.5f} at best"
    )
    if len(later):
        says[-1] += f", of {len(later)} from the tree {later.mean():.5f} and {later.min():.5f}"
        if gain <= 2 * error:
            says.append(
                "on average what the tree gives is no better than what is random, but by noise: "
                "more structures, or more epochs for each, may tell them apart"
            )
        elif later.min() >= first.min():
            says.append("the best structure is a random one: more structures may find a better one")
    kept = [
        {"fields": list(cell.fields), "function": cell.formula, "gate": cell.gate, "effect": None}
        for cell in sorted(plan.cells, key=lambda cell: -cell.gate)
    ]
    return Verdict(stage, says, _json(facts), kept)


def of_methods(stage: int, course: Course) -> Verdict:
    """The verdict on OptInter's methods: gates are the probabilities of each pair's methods."""
    start, halfway, end = (
        values.reshape(-1, len(METHODS)) for values in (course.start, course.halfway, course.end)
    )
    chosen = end.argmax(axis=1)
    as_drawn = int((chosen == start.argmax(axis=1)).sum())
    correlation = rank_correlation(course.start, course.end)
    counts = {method: int((chosen == place).sum()) for place, method in enumerate(METHODS)}
    facts = {
        "pairs": len(chosen),
        **counts,
        "as_at_start": as_drawn,
        "rank_correlation_with_start": correlation,
        "as_halfway": int((chosen == halfway.argmax(axis=1)).sum()),
        "least_probability": float(end.max(axis=1).min()),
    }
    says = [", ".join(f"{count} {method}" for method, count in counts.items())]
    says.append(
        f"{facts['as_halfway']} of {len(chosen)} choices are as half way, {as_drawn} as drawn at "
        f"the start (rank correlation {correlation:.2f})"
    )
    if as_drawn == len(chosen) or correlation > _AS_DRAWN:
        says.append(
            "nothing was learned: choices are those of the random start. Set a larger "
            "gate_learning_rate, more epochs or a larger learning_rate"
        )
    elif max(counts.values()) == len(chosen):
        says.append("all pairs have one method: compare with OptInter-M, -F and FNN")
    return Verdict(stage, says, _json(facts))


def _json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in facts.items()
    }
