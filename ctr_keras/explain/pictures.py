"""What each kind of picture shows: the numbers, the words, the figure."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np

from ctr_keras.explain import figures
from ctr_keras.explain.explainer import Explainer
from ctr_keras.explain.page import Picture
from ctr_keras.explain.summary import summarize
from ctr_keras.features import Crossed, FeatureSet
from ctr_keras.layers import GatedExperts
from ctr_keras.metrics import field_codes, mutual_information, ranks, statistics_auc
from ctr_keras.models.interactions import table_name
from ctr_keras.plan import FUNCTIONS, METHODS, InteractionPlan
from ctr_keras.types import Array, Rows

_BATCH_SIZE = 1024  # attention weights of 39 fields take 12 kB a row and layer
_BARS = 40  # combinations of one order in a picture
_LABELS = 8  # pairs with their names in a scatter plot
_CASES = 14  # rows in a picture of MIAN's weights, as in the paper


def gate_pictures(plan: InteractionPlan, features: FeatureSet) -> list[Picture]:
    """A map of gates for each function of pairs, bars for higher orders, a map of groups, cells."""
    fields = _fields(plan, features)
    pictures = []
    for kind in _kinds(plan):
        order, function = kind
        gates = _gates(plan, fields, kind)
        ranked = sorted(gates.items(), key=lambda item: -abs(item[1]))
        count = math.comb(len(fields), order)
        title = f"Gates of {order} fields, function {function}: {len(gates)} of {count} are open"
        if order == 2:
            # One scale for all functions, so that their pictures can be compared.
            limit = max(abs(i.gate) for i in plan.interactions if i.order == 2) or 1.0
            figure = figures.gate_map(_matrix(gates, fields), fields, limit, title)
            caption = (
                "The gate of each pair of fields, on a scale symmetric about 0. Its size says how "
                "much the pair matters. Hatched pairs are closed: the model leaves them out."
            )
        else:
            shown = ranked[:_BARS]
            names = [_joined(combination) for combination, _ in shown]
            title += f", {len(shown)} shown"
            figure = figures.gate_bars(names, [gate for _, gate in shown], title)
            caption = (
                f"The {len(shown)} largest gates by size; {len(gates) - len(shown)} more are open."
            )
        rows = [(*combination, gate) for combination, gate in ranked]
        header = [*(f"field {place + 1}" for place in range(order)), "gate"]
        pictures.append(Picture(f"gates-{table_name(kind)}", title, caption, figure, header, rows))
    return pictures + _group_pictures(plan, fields) + _cell_pictures(plan)


def _group_pictures(plan: InteractionPlan, fields: Sequence[str]) -> list[Picture]:
    """Which fields are in which of AutoGroup's groups."""
    groups = sorted(plan.groups, key=lambda group: (group.order, -group.gate))
    if not groups:
        return []
    shown = groups[:_BARS]
    inside = np.array([[name in group.fields for name in fields] for group in shown])
    gates = np.where(inside, [[group.gate] for group in shown], np.nan)
    title = f"Groups of fields: {len(groups)}"
    title += f", {len(shown)} shown" if len(shown) < len(groups) else ""
    caption = (
        "The fields of each group, by how sure the search is of them; a model that is trained on "
        "groups is sure of all. What is left white is not in the group."
    )
    names = [f"order {group.order}" for group in shown]
    rows = [(_joined(group.fields), group.order, group.gate) for group in groups]
    figure = figures.group_map(gates, names, fields, title)
    return [Picture("groups", title, caption, figure, ("fields", "order", "gate"), rows)]


def _cell_pictures(plan: InteractionPlan) -> list[Picture]:
    """What AutoFeature's cells do."""
    cells = sorted(plan.cells, key=lambda cell: -cell.gate)
    if not cells:
        return []
    shown = cells[:_BARS]
    title = f"Cells of fields: {len(cells)}"
    title += f", {len(shown)} shown" if len(shown) < len(cells) else ""
    caption = (
        "What each cell does with its fields, by how sure the search is that they interact: the "
        "share of its best structures in which they do. A model that is trained on cells is sure "
        "of all."
    )
    rows = [(_joined(cell.fields), cell.formula, cell.gate) for cell in cells]
    names, gates = [cell.formula for cell in shown], [cell.gate for cell in shown]
    figure = figures.gate_bars(names, gates, title)
    return [Picture("cells", title, caption, figure, ("fields", "cell", "gate"), rows)]


def statistics_pictures(
    plan: InteractionPlan, features: FeatureSet, train: Rows, test: Rows
) -> list[Picture]:
    """Gates of pairs over statistics_AUC, AutoFIS' Figure 3, one picture a function."""
    kinds = [kind for kind in _kinds(plan) if kind[0] == 2]
    if not kinds:
        return []
    fields = _fields(plan, features)
    pairs = list(itertools.combinations(fields, 2))
    (inputs, labels), (test_inputs, test_labels) = train, test
    before, after = field_codes(features, inputs, test_inputs, fields=fields)
    statistics = np.array(
        [
            statistics_auc(
                [before[name] for name in pair],
                labels,
                [after[name] for name in pair],
                test_labels,
            )
            for pair in pairs
        ]
    )
    pictures = []
    for kind in kinds:
        opened = _gates(plan, fields, kind)
        gates = np.array([opened.get(pair, 0.0) for pair in pairs])
        is_open = np.array([pair in opened for pair in pairs])
        largest = np.argsort(-np.abs(gates), kind="stable")[: min(_LABELS, len(opened))]
        named = {int(place): _joined(pairs[place]) for place in largest}
        title = (
            f"Gate against statistics_AUC, function {kind[1]}\n"
            f"size of the gate: Spearman {_correlation(ranks(statistics), ranks(np.abs(gates)))}"
            f", Pearson {_correlation(statistics, np.abs(gates))}"
        )
        caption = (
            "Each point is a pair of fields. statistics_AUC is the AUC of the click-through rate "
            f"of the pair's values, counted in {len(labels)} training rows, on "
            f"{len(test_labels)} test rows. Closed pairs have gate 0 and count in the correlations."
        )
        figure = figures.gate_scatter(statistics, gates, is_open, named, title)
        rows = [
            (
                *pairs[place],
                float(statistics[place]),
                float(gates[place]),
                "yes" if is_open[place] else "no",
            )
            for place in np.argsort(-statistics, kind="stable")
        ]
        header = ("field 1", "field 2", "statistics_AUC", "gate", "open")
        name = f"statistics-{table_name(kind)}"
        pictures.append(Picture(name, title.replace("\n", "; "), caption, figure, header, rows))
    return pictures


def method_pictures(plan: InteractionPlan, features: FeatureSet, train: Rows) -> list[Picture]:
    """OptInter's chosen methods next to mutual information, and its mean by method."""
    chosen = {i.fields: i for i in plan.interactions if i.function in METHODS}
    if not chosen:
        return []
    named = set(itertools.chain(*chosen))
    fields = [name for name in features.field_names if name in named]
    methods = {_in_order(pair, fields): i.function for pair, i in chosen.items()}
    gates = {_in_order(pair, fields): i.gate for pair, i in chosen.items()}
    inputs, labels = train
    (codes,) = field_codes(features, inputs, fields=fields)
    information: dict[tuple[str, ...], float] = {
        pair: mutual_information([codes[name] for name in pair], labels)
        for pair in itertools.combinations(fields, 2)
    }
    counts = Counter(methods.values())
    title = "Pairs by method: " + ", ".join(f"{counts[method]} {method}" for method in METHODS)
    positions = {pair: float(METHODS.index(method)) for pair, method in methods.items()}
    figure = figures.method_maps(
        _matrix(positions, fields), _matrix(information, fields), fields, METHODS, title
    )
    caption = (
        "Left, the method chosen for each pair of fields; right, the mutual information of the "
        f"pair's values and the click in {len(labels)} training rows. It is too large for "
        "pairs of many values."
    )
    rows = [
        (*pair, methods.get(pair, "none"), gates.get(pair, ""), nats)
        for pair, nats in sorted(information.items(), key=lambda item: -item[1])
    ]
    header = ("field 1", "field 2", "method", "gate", "mutual information")
    maps = Picture("methods", title, caption, figure, header, rows)

    by_method = {
        name: [information[pair] for pair, method in methods.items() if method == name]
        for name in METHODS
        if counts[name]
    }
    title = "Mean mutual information by method"
    caption = "Bars are means, points the pairs. OptInter tends to memorize what says much."
    means = [(name, len(nats), float(np.mean(nats))) for name, nats in by_method.items()]
    columns = ("method", "pairs", "mean mutual information")
    figure = figures.method_bars(by_method, title)
    return [maps, Picture("methods-information", title, caption, figure, columns, means)]


def width_pictures(plan: InteractionPlan, features: FeatureSet, dim: int) -> list[Picture]:
    """The dimensions that fields keep in each table, by AIM's embedding dimension search."""
    if not plan.kept_dims:
        return []
    fields = _fields(plan, features)
    widths = {
        table: [len(kept[name]) if name in kept else dim for name in fields]
        for table, kept in plan.kept_dims.items()
    }
    caption = f"The dimensions that each field keeps of {dim}, in the table of each function."
    rows = [(name, *counts) for name, *counts in zip(fields, *widths.values(), strict=True)]
    figure = figures.width_bars(widths, fields, dim)
    return [Picture("widths", "Embedding widths", caption, figure, ("field", *widths), rows)]


def attention_pictures(explainer: Explainer, test: Rows, case: int) -> list[Picture]:
    """AutoInt's attention in one row and on average, its Figure 7, two pictures a layer."""
    if not explainer.attending:
        return []
    of_case = _explained(explainer, _part(test, case, case + 1))
    label, score = float(test[1][case, 0]), float(of_case["score"][0, 0])
    where = f"row {case} of the test split (label {label:.0f}, score {score:.3f})"
    maps = of_case["attention"][0].astype(float)
    of_layers = [
        _attention_picture(explainer, place, "case", where, maps) for place in range(len(maps))
    ]
    means = mean_attention_pictures(explainer, test)
    return [*itertools.chain(*zip(of_layers, means, strict=True))]


def mean_attention_pictures(explainer: Explainer, rows: Rows, split: str = "test") -> list[Picture]:
    """AutoInt's attention on average, a picture a layer."""
    if not explainer.attending:
        return []
    summary = summarize(explainer, _batches(rows))["attention"]
    of = f"mean of {summary.rows} {split} rows"
    return [
        _attention_picture(explainer, place, "mean", of, summary.mean)
        for place in range(len(summary.mean))
    ]


def _attention_picture(
    explainer: Explainer, place: int, kind: str, of: str, weights: Array
) -> Picture:
    """The maps of one layer, `weights` `(layers, heads, fields, fields)`."""
    layer, maps, fields = explainer.attending[place], weights[place], explainer.names["fields"]
    title = f"Attention of layer {layer}: {of}"
    caption = (
        "Each row of a map sums to 1: what the field at its left takes from each. Red is "
        "more and blue less than if all fields counted the same."
    )
    figure = figures.attention_maps(maps, fields, title)
    rows = [
        (first, second, *map(float, maps[:, i, j]))
        for (i, first), (j, second) in itertools.product(enumerate(fields), repeat=2)
    ]
    header = ("attends", "attended to", *(f"head {head}" for head in range(len(maps))))
    return Picture(f"attention-{layer}-{kind}", title, caption, figure, header, rows)


def global_pictures(explainer: Explainer, rows: Rows, split: str = "test") -> list[Picture]:
    """MIAN's weights of the parts in a few rows, its Figure 6, and their mean."""
    if "attention_global" not in explainer.axes:
        return []
    cases = _explained(explainer, _part(rows, 0, _CASES))["attention_global"].astype(float)
    summary = summarize(explainer, _batches(rows))["attention_global"]
    parts = explainer.names["parts"]
    title = f"Weights of the global module: mean of {summary.rows} {split} rows"
    caption = (
        "How much each part counts: item, context, behaviours and user (e), and what the local "
        "modules make of item and behaviours, user, context (R). Left, single rows; right, the "
        "mean with its standard deviation."
    )
    figure = figures.global_weights(cases, summary.mean, summary.deviation, parts, title)
    lines = [
        (part, float(mean), float(deviation), *map(float, cases[:, place]))
        for place, (part, mean, deviation) in enumerate(
            zip(parts, summary.mean, summary.deviation, strict=True)
        )
    ]
    header = ("part", "mean", "standard deviation", *(f"row {i}" for i in range(len(cases))))
    return [Picture("global-weights", title, caption, figure, header, lines)]


def expert_pictures(
    model: keras.Model, features: FeatureSet, rows: Rows, split: str = "test"
) -> list[Picture]:
    """What each label's gate takes of the experts on average, a picture a layer."""
    layers = [layer for layer in model.layers if isinstance(layer, GatedExperts)]
    return [_expert_picture(model, layer, features, rows, split) for layer in layers]


def _expert_picture(
    model: keras.Model, layer: GatedExperts, features: FeatureSet, rows: Rows, split: str
) -> Picture:
    below = keras.Model(model.input, layer.input)
    taken = [{tensor.name: of[tensor.name] for tensor in model.inputs} for of in _batches(rows)]
    gates = [layer(below(of, training=False), return_gates=True)[1] for of in taken]
    lines = []
    for task, label in enumerate(features.label_names):
        shares = np.concatenate([keras.ops.convert_to_numpy(of[task]) for of in gates])
        lines += [
            (label, expert, float(share))
            for expert, share in zip(layer.experts_of(task), shares.mean(axis=0), strict=True)
        ]
    title = f"Shares of the experts of {layer.name}: mean of {len(rows[1])} {split} rows"
    caption = "How much each label takes of what an expert finds; the shares of a label sum to 1."
    names = [f"{label}: {expert.replace('_', ' ')}" for label, expert, _ in lines]
    figure = figures.bars(names, [share for *_, share in lines], title, "share")
    return Picture(layer.name, title, caption, figure, ("label", "expert", "share"), lines)


def _explained(explainer: Explainer, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: keras.ops.convert_to_numpy(v) for name, v in explainer(inputs).items()}


def _part(rows: Rows, start: int, stop: int) -> dict[str, Array]:
    """The inputs of some rows."""
    return {name: values[start:stop] for name, values in rows[0].items()}


def _batches(rows: Rows) -> Iterator[dict[str, Array]]:
    for start in range(0, len(rows[1]), _BATCH_SIZE):
        yield _part(rows, start, start + _BATCH_SIZE)


def _kinds(plan: InteractionPlan) -> list[tuple[int, str]]:
    return [kind for kind in plan.kinds if kind[1] in FUNCTIONS]


def _fields(plan: InteractionPlan, features: FeatureSet) -> list[str]:
    """Those of a model, without the many crossed ones that the plan does not name."""
    named = set(itertools.chain(*(i.fields for i in plan.interactions)))
    return [f.name for f in features.fields if f.name in named or not isinstance(f, Crossed)]


def _gates(
    plan: InteractionPlan, fields: Sequence[str], kind: tuple[int, str]
) -> dict[tuple[str, ...], float]:
    """The open combinations of a kind, each in the order of the fields."""
    return {
        _in_order(i.fields, fields): i.gate
        for i in plan.interactions
        if (i.order, i.function) == kind
    }


def _joined(names: Iterable[str]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(names)


def _in_order(names: Iterable[str], fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=fields.index))


def _matrix(pairs: Mapping[tuple[str, ...], float], fields: Sequence[str]) -> Array:
    """Symmetric, NaN where there is no pair."""
    matrix = np.full((len(fields), len(fields)), np.nan)
    for (first, second), value in pairs.items():
        i, j = fields.index(first), fields.index(second)
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _correlation(first: Array, second: Array) -> str:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return "undefined"
    return f"{np.corrcoef(first, second)[0, 1]:.2f}"
