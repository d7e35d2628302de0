"""Pictures: the right numbers on the right scale, and names that can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ctr_keras import metrics
from ctr_keras.explain import figures, pictures
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
from ctr_keras.plan import METHODS, Interaction, InteractionPlan


def features_of(names, *more):
    sizes = dict.fromkeys((*names, *(feature.name for feature in more)), 5)
    fields = [Categorical(name) for name in names]
    return FeatureSet(*fields, *more, label=Label("click"), vocabulary_sizes=sizes)


NAMES = ["user", "item", "hour", "site"]
FEATURES = features_of(NAMES)
PLAN = InteractionPlan(
    [
        Interaction(("item", "user"), "inner", 0.5),
        Interaction(("user", "hour"), "inner", -0.001),
        Interaction(("item", "site"), "vector", -2.0),
        Interaction(("user", "item", "site"), "inner", 0.1),
        Interaction(("item", "hour", "site"), "inner", -0.7),
    ],
    {"inner_2": {"user": [0, 3], "hour": []}, "vector_2": {"site": [1]}},
)
LONG = [f"advertiser_campaign_feature_{place:02d}" for place in range(39)]


def rows(count, seed):
    draw = np.random.default_rng(seed)
    ids = draw.integers(1, 5, (count, len(NAMES)))
    chance = 0.2 + 0.6 * ((ids[:, 0] + ids[:, 1]) % 2)
    return {"categorical": ids}, (draw.random(count) < chance).astype("float32")[:, None]


def laid_out(figure):
    """What knows the places of the figure's texts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def cells(axes):
    """What a map shows: values by (row, column), masked where nothing is drawn."""
    mesh = axes.collections[0]
    side = len(axes.get_yticks())
    return mesh.get_array().reshape(side, -1), mesh.get_clim()


def tick_names(axes):
    axis_names = [axis.get_ticklabels() for axis in (axes.xaxis, axes.yaxis)]
    return [[label.get_text() for label in labels] for labels in axis_names]


def test_gates_are_where_their_fields_are_on_one_scale_about_zero():
    inner, vector, third = pictures.gate_pictures(PLAN, FEATURES)
    assert [p.name for p in (inner, vector, third)] == [
        *("gates-inner_2", "gates-vector_2", "gates-inner_3")
    ]
    for picture, expected in (
        (inner, {(0, 1): 0.5, (0, 2): -0.001}),
        (vector, {(1, 3): -2.0}),
    ):
        axes = picture.figure.axes[0]
        values, scale = cells(axes)
        assert scale == (-2, 2)
        assert tick_names(axes) == [NAMES, NAMES]
        for pair in itertools.product(range(4), repeat=2):
            gate = expected.get(tuple(sorted(pair)))
            assert (values[pair] is np.ma.masked) if gate is None else values[pair] == gate


def test_closed_pairs_are_hatched_and_small_gates_are_not():
    figure = pictures.gate_pictures(PLAN, FEATURES)[0].figure
    axes = figure.axes[0]
    assert axes.patch.get_hatch()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["closed"]
    complete = InteractionPlan.complete(NAMES)
    assert not pictures.gate_pictures(complete, FEATURES)[0].figure.legends


def test_bars_of_higher_orders_fall_by_size_and_are_capped():
    third = pictures.gate_pictures(PLAN, FEATURES)[2]
    times = "\N{MULTIPLICATION SIGN}"
    labels = [label.get_text() for label in third.figure.axes[0].get_yticklabels()]
    assert labels == [f"item {times} hour {times} site", f"user {times} item {times} site"]
    assert "2 of 4 are open" in third.title

    many = InteractionPlan(
        Interaction(fields, gate=gate)
        for gate, fields in enumerate(itertools.combinations(LONG[:8], 3))
    )
    (picture,) = pictures.gate_pictures(many, features_of(LONG[:8]))
    widths = [bar.get_width() for bar in picture.figure.axes[0].patches]
    assert widths == list(range(55, 15, -1))
    assert "16 more" in picture.caption
    assert len(picture.rows) == 56


def test_statistics_are_those_of_the_pairs_closed_ones_included():
    train, test = rows(400, 0), rows(300, 1)
    inner, vector = pictures.statistics_pictures(PLAN, FEATURES, train, test)
    assert (inner.name, vector.name) == ("statistics-inner_2", "statistics-vector_2")
    codes = [dict(zip(NAMES, inputs["categorical"].T, strict=True)) for inputs, _ in (train, test)]
    gates = {("user", "item"): 0.5, ("user", "hour"): -0.001}
    found = {row[:2]: row[2:] for row in inner.rows}
    assert set(found) == set(itertools.combinations(NAMES, 2))
    for pair, (statistic, gate, is_open) in found.items():
        columns = [[split[name] for name in pair] for split in codes]
        assert statistic == metrics.statistics_auc(columns[0], train[1], columns[1], test[1])
        assert (gate, is_open) == (gates.get(pair, 0), "yes" if pair in gates else "no")
    statistics, sizes = zip(*[(row[2], abs(row[3])) for row in inner.rows], strict=True)
    assert f"Pearson {np.corrcoef(statistics, sizes)[0, 1]:.2f}" in inner.title
    closed, opened = inner.figure.axes[0].collections
    assert len(closed.get_offsets()) == 4
    assert sorted(opened.get_offsets()[:, 1].tolist()) == [-0.001, 0.5]


def test_spearman_gives_equal_values_their_mean_rank():
    assert metrics.ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]
    assert pictures._correlation(np.ones(3), np.arange(3)) == "undefined"


def test_methods_stand_beside_mutual_information():
    train = rows(500, 2)
    pairs = [("item", "user"), ("user", "hour"), ("item", "hour")]
    plan = InteractionPlan(
        Interaction(pair, method, 0.8) for pair, method in zip(pairs, METHODS, strict=True)
    )
    maps, bars = pictures.method_pictures(plan, FEATURES, train)
    left, right = maps.figure.axes[:2]
    values, _ = cells(left)
    assert [values[0, 1], values[0, 2], values[1, 2]] == [0, 1, 2]
    information, scale = cells(right)
    ids = train[0]["categorical"].T
    expected = [[metrics.mutual_information([a, b], train[1]) for b in ids] for a in ids]
    for i, j in itertools.combinations(range(3), 2):
        assert information[i, j] == information[j, i] == expected[i][j]
    assert scale == (0, max(expected[i][j] for i, j in itertools.combinations(range(3), 2)))
    assert tick_names(left) == tick_names(right) == [NAMES[:3], NAMES[:3]]  # no pair has the site
    legend = [text.get_text() for text in maps.figure.legends[0].get_texts()]
    assert legend == list(METHODS)
    assert bars.rows[0] == ("memorize", 1, expected[0][1])


def test_widths_are_those_kept_of_all():
    (picture,) = pictures.width_pictures(PLAN, FEATURES, dim=8)
    assert picture.header == ("field", "inner_2", "vector_2")
    assert picture.rows == [("user", 2, 8), ("item", 8, 8), ("hour", 0, 8), ("site", 8, 1)]
    bars = [[bar.get_width() for bar in axes.patches] for axes in picture.figure.axes]
    assert bars == [[2, 8, 0, 8], [8, 8, 8, 1]]
    assert pictures.width_pictures(InteractionPlan([]), FEATURES, dim=8) == []


def test_attention_is_shown_about_the_even_weight_on_one_scale_for_all_heads():
    weights = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.3, 0.7]]])
    figure = figures.attention_maps(weights, ["user", "item"], "title")
    for axes, expected in zip(figure.axes[:2], weights, strict=True):
        values, scale = cells(axes)
        np.testing.assert_array_equal(values, expected)
        assert scale == pytest.approx((0.1, 0.9))


def test_attention_that_is_nearly_even_still_has_colours():
    weights = np.array([[[0.51, 0.49], [0.5, 0.5]]])
    axes = figures.attention_maps(weights, ["user", "item"], "title").axes[0]
    mesh = axes.collections[0]
    more, less, *even = mesh.cmap(mesh.norm(weights.ravel())).tolist()
    assert more[0] > 2 * more[2]  # red
    assert less[2] > 2 * less[0]  # blue
    assert even[0] == even[1] not in (more, less)
    _, scale = cells(figures.attention_maps(np.full((1, 2, 2), 0.5), ["a", "b"], "t").axes[0])
    assert scale == pytest.approx((0.495, 0.505))


def test_colour_bar_of_attention_has_no_weights_below_zero():
    peaked = np.array([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    bar = figures.attention_maps(peaked, ["a", "b", "c"], "title").axes[-1]
    assert bar.get_ylim() == pytest.approx((0, 1))


def test_crossed_fields_that_no_gate_names_are_left_out():
    crossed = [Crossed("user", "item"), Crossed("user", "hour")]
    plan = InteractionPlan([Interaction(("site", "user_x_hour"))])
    (picture,) = pictures.gate_pictures(plan, features_of(NAMES, *crossed))
    assert tick_names(picture.figure.axes[0])[0] == [*NAMES, "user_x_hour"]


DRAW = np.random.default_rng(0)
GATES_39 = DRAW.normal(size=(39, 39))
TRIPLES = [" x ".join(triple) for triple in itertools.combinations(LONG[:8], 3)][:40]
AT_39_FIELDS = {
    "gate_map": lambda: figures.gate_map(GATES_39, LONG, 3.0, "title"),
    "method_maps": lambda: figures.method_maps(
        np.triu(DRAW.integers(0, 3, (39, 39)), 1).astype(float),
        abs(GATES_39),
        LONG,
        METHODS,
        "title",
    ),
    "attention_maps": lambda: figures.attention_maps(abs(GATES_39)[None], LONG, "title"),
    "gate_bars": lambda: figures.gate_bars(TRIPLES, [*GATES_39[0].tolist(), 0.0], "title"),
    "width_bars": lambda: figures.width_bars(
        {f"table_{number}": DRAW.integers(0, 17, 39).tolist() for number in range(4)}, LONG, 16
    ),
}


@pytest.mark.parametrize("name", AT_39_FIELDS)
def test_no_name_covers_another_at_39_fields(name):
    figure = AT_39_FIELDS[name]()
    renderer = laid_out(figure)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [
                label.get_window_extent(renderer)
                for label in axis.get_ticklabels()
                if label.get_text() and label.get_visible()
            ]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("height", [1.0, 0.0, -1.0])
def test_named_points_do_not_cover_one_another(height):
    draw = np.random.default_rng(0)
    gates = np.r_[1.0, draw.normal(0, 0.01, 28), -1.0, np.full(8, height), 0.5]
    labels = {place: f"{LONG[place]} x {LONG[0]}" for place in range(30, 39)}
    statistics = draw.random(39)
    figure = figures.gate_scatter(statistics, gates, gates != 0, labels, "title")
    renderer = laid_out(figure)
    # The box of the text alone, without the line to its point.
    boxes = [Text.get_window_extent(text, renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 9
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    frame = figure.axes[0].get_window_extent(renderer)
    assert all(frame.y0 <= (box.y0 + box.y1) / 2 <= frame.y1 + 1 for box in boxes)
