"""Writes what the pages of models say that a model itself knows: `python docs/draw_models.py`.

Between `<!-- model: NAME -->` and `<!-- end -->` stand where it is from, how many weights it has,
what a training step takes (`step_times.json`, by `python -m benchmarks.step_times`), its layers,
its arguments and its presets; everything else on a page is by hand.
"""

import itertools
import json
import pathlib
import re
from collections.abc import Iterator

import keras

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Numeric, Sequence
from ctr_keras.keras_internals import Call, call_of
from ctr_keras.listing import settings_of_training, trainable
from ctr_keras.models import MODELS, build_model
from ctr_keras.presets import PRESETS
from ctr_keras.trees import Tree, Trees
from ctr_keras.trees.columns import column_names

PAGES = pathlib.Path(__file__).parent / "models"
STEP_TIMES_FILE = PAGES.parent / "step_times.json"  # model to how many times as long as DeepFM's
STEP_TIMES = json.loads(STEP_TIMES_FILE.read_text("utf-8"))
VALUES = 1_000_000  # AutoInt counts 998,960 on Criteo
PAIRS = 20_000_000  # OptInter counts 21,037,504 on Criteo, of the pairs of values that it keeps
_AS_FIELDS = MODELS["FM"].crossed  # what most models do with crossed features
_MARKED = re.compile(r"(<!-- model: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PLUMBING = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
_SOURCES = {  # of presets, by how their names begin, or by model
    "bars": "the benchmark BARS",
    "optinter": "OptInter, Table IV",
    "ipinyou": "OptInter, Table IV",
    "autoint": "AutoInt, Section 5.1",
    "default": "this library: in force where no other is named and no plan given",
    **dict.fromkeys(("FM", "DeepFM", "IPNN"), "AutoFIS, Table 9"),
    **dict.fromkeys(("FwFM", "AFM"), "the baselines of AutoFIS and AIM"),
    **dict.fromkeys(("xDeepFM", "AutoGroup", "AutoFeature"), "the baselines of AIM"),
    "FNN": "OptInter, Table IV",
    **dict.fromkeys(("AutoInt", "AutoIntPlus"), "AutoInt, Section 5.1.4, and the authors' code"),
    "AIM": "AIM, the authors' list of parameters",
    **dict.fromkeys(("OptInter", "OptInterM", "OptInterF"), "OptInter, Table IV"),
    **dict.fromkeys(("DIN", "DIEN"), "the baselines of MIAN, Section 4.3"),
    "MIAN": "MIAN, Section 4.3",
}


def main() -> None:
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(updated(page.read_text("utf-8")), "utf-8")


def updated(text: str) -> str:
    """A page whose marked parts are those of the models as they are."""
    return _MARKED.sub(lambda part: f"{part[1]}{described(part['name'])}{part[3]}", text)


def described(name: str) -> str:
    """What stands between the marks of a model."""
    entry = trainable()[name]
    facts = [f"*{entry.reference}.*"]
    if entry.needs:
        facts.append(f"Needs {' and '.join(entry.needs)}.")
    if entry.crossed != _AS_FIELDS:
        facts.append(f"Crossed features: {entry.crossed}.")
    parts = [" ".join(facts)]
    if name in MODELS:
        parts += [f"{weights(name)}{step_time(name)}", f"```text\n{drawn(built_model(name))}\n```"]
    (title, arguments), *_ = settings_of_training(name).items()
    rows = [f"| `{setting}` | {meaning} |" for setting, meaning in arguments]
    parts.append(_folded(title, "\n".join(["| | |", "|---|---|", *rows])))
    presets = PRESETS.get(name, {})
    if presets:
        lines = [f"- `{key}`, {_source(name, key)}: {_spelled(presets[key])}" for key in presets]
        parts.append(_folded(f"Presets: {', '.join(presets)}", "\n".join(lines)))
    return "\n\n".join(parts) + "\n"


def weights(name: str) -> str:
    """How many weights a model has at Criteo's size, by default.

    Weights grow linearly with the vocabularies, so small ones tell what large ones take.
    """
    features = features_of(name)
    fields, crosses = len(features.categorical), len(features.crossed)
    count = built_model(name).count_params()
    a_value = (built_model(name, values=2).count_params() - count) / fields
    a_pair = (built_model(name, pairs=2).count_params() - count) / crosses if crosses else 0
    others = count - a_value * fields - a_pair * crosses
    total = others + a_value * VALUES + a_pair * PAIRS
    parts = [
        f"{each:g} for each of {many:,} {of}"
        for each, many, of in ((a_value, VALUES, "values"), (a_pair, PAIRS, "pairs of values"))
        if each
    ]
    of = f": {', '.join([*parts, f'{others:,.0f} others'])}" if parts else ""
    return f"**{total:,.0f} weights**{of}."


def step_time(name: str) -> str:
    """What a training step takes, where it was measured."""
    times = STEP_TIMES.get(name)
    return f" A training step takes {times:.1f} times as long as DeepFM's." if times else ""


def drawn(model: keras.Model) -> str:
    """The layers of a functional model as a tree, from the score down to the inputs.

    In brackets is what goes into a layer where it is an input or drawn already.
    """
    known: set[Call] = set()

    def below(call: Call) -> Iterator[Call]:
        """The layers whose outputs go into one, past those that only move numbers about."""
        for source in map(call_of, call.input_tensors):
            is_layer = isinstance(source.operation, keras.Layer)
            is_shown = is_layer and not isinstance(source.operation, _PLUMBING)
            yield from [source] if is_shown else below(source)

    def lines(call: Call) -> Iterator[str]:
        known.add(call)
        sources = list(dict.fromkeys(below(call)))
        short = [source for source in sources if _is_input(source) or source in known]
        brackets = f"({', '.join(map(_named, short))})" if short else ""
        yield f"{_titled(call)}{brackets} -> {_shaped(call)}"
        branches = [source for source in sources if source not in short]
        for branch in branches:
            is_known = branch in known  # by a branch before this one
            drawing = iter([_named(branch)]) if is_known else lines(branch)
            first, rest = ("└── ", "    ") if branch is branches[-1] else ("├── ", "│   ")
            yield first + next(drawing)
            yield from (rest + line for line in drawing)

    return "\n".join(lines(call_of(model.output)))


def _is_input(call: Call) -> bool:
    return isinstance(call.operation, keras.layers.InputLayer)


def _named(call: Call) -> str:
    """The name that the model gave a layer, or its class."""
    kind, name = type(call.operation).__name__, call.operation.name
    is_automatic = name.rstrip("0123456789_").replace("_", "") == kind.lower()
    return kind if is_automatic else name


def _titled(call: Call) -> str:
    name, kind = _named(call), type(call.operation).__name__
    if kind == "Activation":
        kind += f" {call.operation.activation.__name__}"
    return kind if name == kind else f"{name}: {kind}"


def _shaped(call: Call) -> str:
    """Shapes of a layer's outputs, without the batch."""
    return ", ".join(" x ".join(map(str, tensor.shape[1:])) for tensor in call.outputs)


def built_model(name: str, values: int = 1, pairs: int = 1) -> keras.Model:
    features = features_of(name, values, pairs)
    if MODELS[name].family != "trees":
        return build_model(name, features)
    return build_model(name, features, trees=_trees(column_names(features)))


def features_of(name: str, values: int = 1, pairs: int = 1) -> FeatureSet:
    """Fields as Criteo's, with all pairs if the model reads them, or a user, an item and what the
    user did before; vocabularies of so many values."""
    if MODELS[name].family == "sequences":
        return _with_history(values)
    names = [f"c{place}" for place in range(1, 27)]
    crossed = name != "WideDeep" and MODELS[name].crossed != _AS_FIELDS
    crosses = [Crossed(*pair) for pair in itertools.combinations(names, 2)] if crossed else []
    return FeatureSet(
        *map(Categorical, names),
        *(Numeric(f"n{place}") for place in range(1, 14)),
        *crosses,
        label=[Label("click"), Label("conversion")][: 1 + (MODELS[name].family == "labels")],
        vocabulary_sizes={
            **dict.fromkeys(names, values),
            **{cross.name: pairs for cross in crosses},
        },
    )


def _with_history(values: int) -> FeatureSet:
    names = ("item", "category", "user", "age", "hour")
    groups = ("item", "item", "user", "user", "context")
    return FeatureSet(
        *(Categorical(name, group=group) for name, group in zip(names, groups, strict=True)),
        *(
            Sequence(f"{name}_history", vocabulary_of=name, max_length=50)
            for name in ("item", "category")
        ),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, values),
    )


def _trees(columns: list[str]) -> Trees:
    """A hundred trees, each of as many leaves as LightGBM grows by default."""
    splits = range(30)
    tree = Tree(
        columns=tuple(0 for _ in splits),
        thresholds=tuple(0.0 for _ in splits),
        categories=tuple((1,) for _ in splits),
        missing_left=tuple(False for _ in splits),
        left=tuple(-1 - split for split in splits),
        right=(*splits[1:], -31),
        leaf_values=(0.0,) * 31,
    )
    return Trees(columns, [tree] * 100)


def _folded(title: str, text: str) -> str:
    return f'<details markdown="1"><summary>{title}</summary>\n\n{text}\n\n</details>'


def _source(name: str, preset: str) -> str:
    return _SOURCES.get(preset.partition("-")[0]) or _SOURCES[name]


def _spelled(settings: dict[str, object]) -> str:
    return " ".join(f"`{key}={json.dumps(value)}`" for key, value in settings.items())


if __name__ == "__main__":
    main()
