"""Searches on logs whose interactions are known, next to plain models and the oracle's.

    python -m benchmarks.planted --log pairs --seed 0 --seed 1

Each log has 200,000 rows, of which a tenth is for validation and a tenth for tests:

- `pairs`: 12 fields of 40 values, with a random table for 6 of the 66 pairs
- `none`: 12 fields of 40 values that interact in no way
- `methods`: 4 fields of 30 values and 2 of 200. Of the 15 pairs, two have a random table, which is
  to be memorized, and that of the large fields one of rank 2, which is to be factorized
- `triples`: 8 fields of 12 values, with random tables for 3 pairs and a triple on top of each of 2
- `functions`: 6 fields of 40 values, of which 2 pairs have tables of rank one, as outer products
- `fields`: 8 fields of 20 values, with random tables for 2 pairs, and 4 fields that say nothing
- `values`: 8 fields of 20 values, with tables for 2 pairs that are random for the first 10 values
  of each field and 0 for the others; 4 fields say nothing
- `groups`: 12 fields of 12 values, with random tables for 2 pairs and a triple of other fields
- `labels`: no search, but models of two labels, on a log of its own (`benchmarks.planted_labels`)

Searches have their default settings, models a tower of 64 and 64 units. Models are trained until
the validation loss rises. The table says how often a search has kept exactly what was planted (by
fields, and for OptInter by methods; of AutoGroup, whether a group of its order holds each planted
combination, and none of order 2 or more a field that is in none), how much it has kept, and the
test AUC, a mean over the seeds.
"""

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click
import keras
import numpy as np

from benchmarks import planted_labels
from benchmarks.planted_log import Planted, planted_clicks, planted_tables
from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.optimizers import SparseAdam
from ctr_keras.plan import Group, Interaction, InteractionPlan
from ctr_keras.search import (
    AIMSearch,
    AutoFieldSearch,
    AutoFISSearch,
    AutoGroupSearch,
    DeepLightSearch,
    OptFSSearch,
    OptInterSearch,
)
from ctr_keras.types import Rows, Settings

ROWS = {"train_rows": 160_000, "validation_rows": 20_000, "test_rows": 20_000}
BATCH_SIZE, EPOCHS = 1000, 10
TOWER = {"hidden": (64, 64)}
RATES = {"LR": 1e-2, "FM": 1e-2}  # towers learn by smaller steps
RATE = 3e-3

PLAIN = {"gated": False, "normalized": False}  # FM on the interactions of a plan, nothing more
FIELD, VALUE, GROUP = "field", "value", "group"  # in the place of a method
Model = tuple[str, Settings]


class Case(NamedTuple):
    """A log and what is measured on it.

    Attributes:
        log: makes the log of a seed.
        planted: what the oracle knows: combinations of fields, and the method of each; or single
            fields that say something, or such values of fields, each as field and value.
        models: plain models by name.
        oracles: models on what was planted, by name.
        searches: by name, a search and the models that are trained on what it finds.
    """

    log: Callable[[int], Planted]
    planted: Mapping[tuple[int, ...], str]
    models: Mapping[str, Model]
    oracles: Mapping[str, Model]
    searches: Mapping[str, tuple[Any, Mapping[str, Model]]]


PAIRS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]
FIELDS = [(0, 1), (2, 3)]
TRIPLES = [(0, 1), (2, 3), (4, 5), (0, 1, 2), (2, 3, 6)]
OUTER = [(0, 1), (2, 3)]
VALUES = [(field, value) for pair in FIELDS for field in pair for value in range(10)]
GROUPS = [(0, 1), (2, 3), (4, 5, 6)]
METHODS = {(0, 1): "memorize", (2, 3): "memorize", (4, 5): "factorize"}


def _methods_log(seed: int) -> Planted:
    draw = np.random.default_rng([seed, 2])
    tables = {pair: draw.normal(size=(30, 30)) for pair in ((0, 1), (2, 3))}
    left, right = draw.normal(size=(200, 2)), draw.normal(size=(2, 200))
    tables[4, 5] = 1.2 * left @ right / 2**0.5
    counts = [30] * 4 + [200] * 2
    return planted_tables(tables, seed, 6, counts, linear=0.5, noise=1.5, crossed=True, **ROWS)


def _functions_log(seed: int) -> Planted:
    draw = np.random.default_rng([seed, 2])
    tables = {pair: np.outer(*draw.normal(size=(2, 40))) for pair in OUTER}
    return planted_tables(tables, seed, 6, 40, linear=0.5, noise=1.0, **ROWS)


def _values_log(seed: int) -> Planted:
    draw = np.random.default_rng([seed, 2])
    tables = {pair: np.pad(draw.normal(size=(10, 10)), (0, 10)) for pair in FIELDS}
    return planted_tables(tables, seed, 8, 20, linear=0.0, noise=1.0, **ROWS)


def _clicks(
    planted: Sequence[tuple[int, ...]], fields: int, values: int, noise: float, linear: float = 0.5
) -> Any:
    options = {"linear": linear, "noise": noise, **ROWS}
    return functools.partial(planted_clicks, planted, fields=fields, categories=values, **options)


def _autofis(name: str, base: str, **settings: Any) -> dict[str, Any]:
    tower = {} if base == "FM" else TOWER
    search = functools.partial(AutoFISSearch, base=base, model_args=tower, **settings)
    return {name: (search, {f"{base} with gates": (base, tower), "FM": ("FM", PLAIN)})}


def _aim(**settings: Any) -> dict[str, Any]:
    search = functools.partial(AIMSearch, **settings)
    return {"AIM": (search, {"AIM": ("AIM", TOWER), "FM, functions and all": ("FM", PLAIN)})}


def _inner(interactions: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], str]:
    return dict.fromkeys(interactions, "inner")


DEEP: dict[str, Model] = {"DeepFM": ("DeepFM", TOWER), "FNN": ("FNN", TOWER)}
_deeplight = functools.partial(DeepLightSearch, model_args=TOWER)
_autofield = functools.partial(AutoFieldSearch, model_args=TOWER)
_optfs = functools.partial(OptFSSearch, model_args=TOWER)
_autogroup = functools.partial(AutoGroupSearch, model_args=TOWER)
GROUPED: dict[str, Model] = {"AutoGroup": ("AutoGroup", TOWER)}
BOTH = {
    **_autofis("AutoFIS on FM", "FM"),
    **_autofis("AutoFIS on DeepFM", "DeepFM"),
    **_aim(),
    "DeepLight": (_deeplight, {"FM": ("FM", PLAIN)}),
}
FM: dict[str, Model] = {"LR": ("LR", {}), "FM": ("FM", {})}
ORACLES: dict[str, Model] = {"FM": ("FM", PLAIN), "FM with gates": ("FM", {})}

CASES: dict[str, Case] = {
    "pairs": Case(_clicks(PAIRS, 12, 40, 2.8), _inner(PAIRS), {**FM, **DEEP}, ORACLES, BOTH),
    "none": Case(_clicks([], 12, 40, 1.0), {}, FM, {}, BOTH),
    "methods": Case(
        _methods_log,
        METHODS,
        {
            **FM,
            "FNN": ("FNN", TOWER),
            "OptInter-F": ("OptInterF", TOWER),
            "OptInter-M": ("OptInterM", TOWER),
        },
        {"OptInter": ("OptInter", TOWER)},
        {
            "OptInter": (
                functools.partial(OptInterSearch, model_args=TOWER),
                {"OptInter": ("OptInter", TOWER)},
            )
        },
    ),
    "triples": Case(
        _clicks(TRIPLES, 8, 12, 2.0),
        _inner(TRIPLES),
        {**FM, "FM of order 3": ("FM", {"orders": (2, 3)})},
        ORACLES,
        {**_autofis("AutoFIS on FM, pool", "FM", order=3, pool=True), **_aim(order=3, dims=False)},
    ),
    "functions": Case(
        _functions_log, dict.fromkeys(OUTER, "outer"), FM, {"FM": ("FM", PLAIN)}, _aim()
    ),
    "fields": Case(
        _clicks(FIELDS, 8, 20, 1.0, linear=0.0),
        dict.fromkeys(((0,), (1,), (2,), (3,)), FIELD),
        {**FM, "DeepFM": ("DeepFM", TOWER)},
        {"FM": ("FM", {}), "DeepFM": ("DeepFM", TOWER)},
        {"AutoField": (_autofield, {"FM": ("FM", {}), "DeepFM": ("DeepFM", TOWER)})},
    ),
    "values": Case(
        _values_log,
        dict.fromkeys(VALUES, VALUE),
        {**FM, "DeepFM": ("DeepFM", TOWER)},
        {"FM": ("FM", {}), "DeepFM": ("DeepFM", TOWER)},
        {"OptFS": (_optfs, {"FM": ("FM", {}), "DeepFM": ("DeepFM", TOWER)})},
    ),
    "groups": Case(
        _clicks(GROUPS, 12, 12, 1.0),
        dict.fromkeys(GROUPS, GROUP),
        {**FM, "DeepFM": ("DeepFM", TOWER), "AutoGroup, all fields": ("AutoGroup", TOWER)},
        GROUPED,
        {"AutoGroup": (_autogroup, GROUPED)},
    ),
}


def oracle(case: Case, log: Planted) -> InteractionPlan:
    """What was planted; of methods, all other pairs are left alone."""
    names = [feature.name for feature in log.features.categorical]
    if VALUE in case.planted.values():
        return _plan_of_values(log.features, case.planted)
    planted = {tuple(names[i] for i in fields): f for fields, f in case.planted.items()}
    if log.features.crossed:
        pairs = [(cross.first, cross.second) for cross in log.features.crossed]
        planted = {pair: planted.get(pair, "naive") for pair in pairs}
    if FIELD in planted.values():
        return InteractionPlan([], fields={name: 1.0 for (name,) in planted})
    if GROUP in planted.values():
        return InteractionPlan([], groups=[Group(fields, len(fields)) for fields in planted])
    return InteractionPlan(Interaction(fields, how) for fields, how in planted.items())


def _plan_of_values(features: FeatureSet, planted: Iterable[tuple[int, ...]]) -> InteractionPlan:
    """These values of fields, each as field and value, and none that is unknown."""
    kept = {name: np.zeros(len(ids), bool) for name, ids in features.id_ranges.items()}
    for field, value in planted:
        kept[features.categorical[field].name][1 + value] = True  # the first are the unknown
    return InteractionPlan([], values=kept)


def is_exact(found: InteractionPlan, planted: InteractionPlan) -> bool:
    """Whether a search has found what was planted: the fields, and for OptInter the methods."""
    if planted.groups:
        return _are_held(found.groups, planted.groups)

    def of(plan: InteractionPlan) -> set[Any]:
        methods = {"memorize", "factorize", "naive"}
        pairs = {(i.fields, i.function if i.function in methods else "") for i in plan.interactions}
        return {*pairs, *(plan.fields or ()), *_values(plan)}

    return of(found) == of(planted)


def _values(plan: InteractionPlan) -> set[tuple[str, int]]:
    """The values that a plan of values keeps; rows have no unknown ones."""
    return {(n, v) for n, kept in plan.values.items() for v in np.flatnonzero(kept) if v > 0}


def _are_held(found: Sequence[Group], planted: Sequence[Group]) -> bool:
    """Whether groups hold together what was planted, and from order 2 on no other fields."""
    every = {name for group in planted for name in group.fields}
    return all(
        any(group.order == one.order and {*one.fields} <= {*group.fields} for group in found)
        for one in planted
    ) and all({*group.fields} <= every for group in found if group.order > 1)


def tested(model: Model, log: Planted, seed: int, plan: InteractionPlan | None) -> float:
    """The test AUC of a model after the pass of the least validation loss."""
    name, arguments = model
    keras.utils.set_random_seed(seed)
    if plan is not None:
        arguments = {**arguments, "interactions": plan}
    built = build_model(name, log.features, **arguments)
    built.compile(SparseAdam(RATES.get(name, RATE)), "binary_crossentropy", jit_compile=False)

    def taken(rows: Rows) -> Rows:
        return {tensor.name: rows[0][tensor.name] for tensor in built.inputs}, rows[1]

    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    built.fit(
        *taken(log.train),
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=taken(log.validation),
        callbacks=[stop],
        verbose=0,
    )
    inputs, clicks = taken(log.test)
    return metrics.auc(clicks, built.predict(inputs, batch_size=4096, verbose=0))


def measured(case: Case, seed: int) -> dict[str, dict[str, float]]:
    """By name in the table: test AUC, whether a search was exact, its processor seconds."""
    log = case.log(seed)
    planted = oracle(case, log)
    rows = {"truth": {"auc": metrics.auc(log.test[1], log.truth)}}
    for name, model in case.models.items():
        rows[name] = {"auc": tested(model, log, seed, None)}
    for name, model in case.oracles.items():
        rows[f"oracle: {name}"] = {"auc": tested(model, log, seed, planted)}
    for name, (search, retrained) in case.searches.items():
        began = time.process_time()
        made = search(seed=seed, verbose=False)
        found = made.search(log.features, log.train, log.validation)
        seconds = time.process_time() - began
        said = {"exact": is_exact(found, planted), "seconds": seconds}
        kept = {i.fields for i in found.interactions if i.function != "naive"}
        groups = {(group.order, group.fields) for group in found.groups}
        said["kept"] = len({*kept, *(found.fields or ()), *groups, *_values(found)})
        rows[f"{name}, search"] = said
        for label, model in retrained.items():
            if found.interactions or said["kept"]:
                rows[f"{name}: {label}"] = {"auc": tested(model, log, seed, found)}
    return rows


@click.command(help=__doc__)
@click.option("--log", "name", default="pairs", type=click.Choice([*CASES, "labels"]))
@click.option("--seed", "seeds", multiple=True, default=[0, 1, 2], show_default=True)
def main(name: str, seeds: Sequence[int]) -> None:
    if name == "labels":
        planted_labels.print_table(seeds)
        return
    found: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        for row, values in measured(CASES[name], seed).items():
            found.setdefault(row, []).append(values)
            print(f"seed {seed}, {row}: {values}", flush=True)
    print("| model or search | found exactly | kept | AUC | CPU seconds |\n|---|---|---|---|---|")
    for row, of_seeds in found.items():
        exact = _joined(of_seeds, "exact", lambda values: f"{sum(values)} of {len(values)}")
        kept = _joined(of_seeds, "kept", lambda values: ", ".join(map(str, values)))
        auc = _joined(of_seeds, "auc", lambda values: f"{np.mean(values):.4f}")
        seconds = _joined(of_seeds, "seconds", lambda values: f"{np.mean(values):.0f}")
        print(f"| {row} | {exact} | {kept} | {auc} | {seconds} |")


def _joined(
    rows: Sequence[Mapping[str, float]], key: str, write: Callable[[list[float]], str]
) -> str:
    return write([row[key] for row in rows]) if key in rows[0] else ""


if __name__ == "__main__":
    main()
