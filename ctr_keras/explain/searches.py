"""Pictures of how a search went: its gates over the rounds, and what closing them costs."""

import numpy as np

from ctr_keras.explain import figures
from ctr_keras.explain.page import Picture
from ctr_keras.plan import METHODS
from ctr_keras.search.verdict import Course, Verdict, read_courses, read_verdicts

_BARS = 40  # interactions in a picture


def search_pictures(folder: str) -> list[Picture]:
    """Of each stage: gates over the rounds, validation loss by count, what each gate is worth; of
    AutoFeature the loss of each structure."""
    courses, pictures = read_courses(folder), []
    for verdict in read_verdicts(folder):
        if verdict.stage in courses:
            pictures.append(_rounds(verdict, courses[verdict.stage]))
        if "losses" in verdict.facts:
            pictures.append(_structures(verdict))
        if verdict.facts.get("tried"):
            pictures.append(_closing(verdict))
        if any(row["effect"] is not None for row in verdict.kept):
            pictures.append(_effects(verdict))
    return pictures


def _rounds(verdict: Verdict, course: Course) -> Picture:
    """The gates that count at the end stand out."""
    values, end = course.values, np.abs(course.end)
    stands_out = np.zeros(len(end), bool)
    if "pairs" in verdict.facts:  # OptInter's: of each pair the most probable method
        best = end.reshape(-1, len(METHODS)).argmax(axis=1)
        stands_out[np.arange(len(best)) * len(METHODS) + best] = True
    else:
        stands_out[np.argsort(-end, kind="stable")[: verdict.facts["kept"]]] = True
    title = f"Gates of stage {verdict.stage} over the rounds"
    caption = (
        f"{stands_out.sum()} of {len(end)} gates, those that count, are drawn in colour. Gates "
        "that still cross at the end may cross again: more epochs would tell."
    )
    rows = [
        (course.names[place], float(values[0, place]), float(values[-1, place]))
        for place in np.argsort(-end, kind="stable")
    ]
    figure = figures.gate_lines(values, stands_out, title)
    header = ("gate", "at the start", "at the end")
    return Picture(f"rounds-{verdict.stage}", title, caption, figure, header, rows)


def _structures(verdict: Verdict) -> Picture:
    losses, random = verdict.facts["losses"], verdict.facts["random_structures"]
    title = f"Validation log loss of the structures of stage {verdict.stage}"
    caption = (
        f"The first {random} structures are random, the others come from the best region of the "
        "tree: where they are no better on average, it has learned little."
    )
    rows = [
        (number, "at random" if number <= random else "by the tree", loss)
        for number, loss in enumerate(losses, start=1)
    ]
    figure = figures.loss_points(losses, random, title)
    header = ("structure", "drawn", "log loss")
    return Picture(f"structures-{verdict.stage}", title, caption, figure, header, rows)


def _closing(verdict: Verdict) -> Picture:
    tried, kept = verdict.facts["tried"], verdict.facts["kept"]
    title = f"Validation log loss by count of open gates, stage {verdict.stage}"
    caption = (
        f"The largest gates are open, the others closed; {kept} are kept. The error is that of the "
        "difference to the least loss: as few gates as are within two of them do as well as any."
    )
    rows = [(one["gates"], one["log_loss"], one["excess"], one["error"]) for one in tried]
    counts, losses = [row[0] for row in rows], [row[1] for row in rows]
    figure = figures.closing_curve(counts, losses, kept, title)
    header = ("open gates", "log loss", "over the least", "standard error")
    return Picture(f"closing-{verdict.stage}", title, caption, figure, header, rows)


def _effects(verdict: Verdict) -> Picture:
    rows = [
        (
            " \N{MULTIPLICATION SIGN} ".join(row["fields"]),
            row["function"],
            row["gate"],
            row["effect"],
        )
        for row in verdict.kept
    ]
    shown = rows[:_BARS]
    title = f"What the interactions of stage {verdict.stage} are worth: {len(rows)} kept"
    caption = (
        "By how much the validation log loss grows where this interaction alone is closed, in the "
        "model of the search. One that is worth nothing may go."
    )
    names = [f"{fields}, {function}" for fields, function, *_ in shown]
    figure = figures.bars(names, [row[3] for row in shown], title, "validation log loss")
    header = ("fields", "function", "gate", "effect")
    return Picture(f"effects-{verdict.stage}", title, caption, figure, header, rows, is_open=True)
