"""Which interactions, fields and values a model keeps: what a search finds and a model is built on.

An `InteractionPlan` names fields, not indices, so that it can be read, and given to another model
or another feature set with the same fields.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ctr_keras.types import Array

Function = Literal["inner", "vector", "scalar", "outer"]  # AutoFIS has the first, AIM all
FUNCTIONS: tuple[Function, ...] = get_args(Function)
METHODS = ("memorize", "factorize", "naive")  # OptInter's, in the order of its probabilities
OPERATIONS = ("add", "multiply", "concatenate", "product")  # of AutoFeature's cells
Block: TypeAlias = tuple[str, int, int]
ORDERS = (2, 3, 4)
FORMAT_VERSION = 1
_BLOCKS = 8  # in a cell


@dataclasses.dataclass(frozen=True)
class Interaction:
    """One combination of fields and how it is modelled.

    Args:
        fields: tuple of str. Names of two to four fields.
        function: str. One of AIM's interaction functions, `"inner"`, `"vector"`, `"scalar"`,
            `"outer"`, or one of OptInter's methods for a pair, `"memorize"`, `"factorize"`,
            `"naive"`. Defaults to `"inner"`.
        gate: float. Its gate at the end of a search; the absolute value says how much the
            interaction matters. Defaults to `1.0`.

    Example:

    >>> Interaction(("user", "item"), "outer").order
    2
    """

    fields: tuple[str, ...]
    function: str = "inner"
    gate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "gate", float(self.gate))  # JSON has no NumPy numbers
        if len(self.fields) not in ORDERS or len(set(self.fields)) != len(self.fields):
            raise ValueError(
                f"an interaction has two to four different fields. Received: {self.fields}"
            )
        if self.function not in (*FUNCTIONS, *METHODS):
            raise ValueError(
                f"function must be one of {', '.join((*FUNCTIONS, *METHODS))}. "
                f"Received: {self.function!r}"
            )
        if self.function in METHODS and self.order != 2:
            raise ValueError(f"{self.function} is a method for pairs. Received: {self.fields}")

    @property
    def order(self) -> int:
        """Number of its fields."""
        return len(self.fields)


@dataclasses.dataclass(frozen=True)
class Group:
    """Fields whose interactions of one order become one number, as AutoGroup groups them.

    Args:
        fields: tuple of str. Names of fields: at least one, and two where the order is over 1.
        order: int. From 1 to 4. Defaults to `2`.
        gate: float. How sure a search is of its fields: the mean of their probabilities to be in
            it. Defaults to `1.0`.

    Example:

    >>> Group(("user", "item", "hour"), order=3).fields
    ('user', 'item', 'hour')
    """

    fields: tuple[str, ...]
    order: int = 2
    gate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "gate", float(self.gate))
        if self.order not in (1, *ORDERS):
            raise ValueError(f"the order of a group is 1 to 4. Received: {self.order!r}")
        least = min(self.order, 2)
        if len(self.fields) < least or len(set(self.fields)) != len(self.fields):
            raise ValueError(
                f"a group of order {self.order} has at least {least} different fields. "
                f"Received: {self.fields}"
            )


@dataclasses.dataclass(frozen=True)
class Cell:
    """Fields and the small graph of operations through which they interact, as AutoFeature has it.

    Args:
        fields: tuple of str. Names of two fields or more.
        blocks: list of tuples. Of each block its operation, `"add"`, `"multiply"`, `"concatenate"`
            or `"product"`, and the places of two different nodes that it reads: 0, 1 and so on for
            the fields, then those of the blocks before it (see `FieldCells`); at most 8. Defaults
            to one that multiplies the first two fields.
        gate: float. How sure a search is that these fields interact. Defaults to `1.0`.

    Example:

    >>> Cell(("user", "item"), [("multiply", 0, 1), ("concatenate", 0, 2)]).formula
    'concatenate(user, multiply(user, item))'
    """

    fields: tuple[str, ...]
    blocks: tuple[Block, ...] = (("multiply", 0, 1),)
    gate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "blocks", tuple(map(tuple, self.blocks)))
        object.__setattr__(self, "gate", float(self.gate))
        if len(self.fields) < 2 or len(set(self.fields)) != len(self.fields):
            raise ValueError(f"a cell has two or more different fields. Received: {self.fields}")
        if not 1 <= len(self.blocks) <= _BLOCKS:
            raise ValueError(f"a cell has 1 to {_BLOCKS} blocks. Received: {len(self.blocks)}")
        for place, block in enumerate(self.blocks, start=len(self.fields)):
            if len(block) != 3 or block[0] not in OPERATIONS:
                raise ValueError(
                    f"a block is one of {', '.join(OPERATIONS)} and two places. Received: {block}"
                )
            if block[1] == block[2] or not {*block[1:]} <= {*range(place)}:
                raise ValueError(
                    f"this block reads two different nodes below {place}. Received: {block}"
                )

    @property
    def formula(self) -> str:
        """What the blocks do, those that another one reads inside of it."""
        nodes = [*self.fields]
        for operation, first, second in self.blocks:
            nodes.append(f"{operation}({nodes[first]}, {nodes[second]})")
        read = {place for _, *places in self.blocks for place in places}
        ends = (place for place in range(len(self.fields), len(nodes)) if place not in read)
        return "; ".join(nodes[place] for place in ends)


class InteractionPlan:
    """The interactions of a model, the fields, values and embedding dimensions that it keeps.

    Args:
        interactions: list of `Interaction`, without duplicates.
        kept_dims: dict or None. By the name of an embedding table (`"<function>_<order>"`) and of a
            field, the positions of the embedding that the field keeps. A field that is not named
            keeps all. Defaults to `None`: every field keeps all.
        fields: dict or None. By the name of a field that the model keeps, how much it matters: the
            probability to keep it that AutoField has found. The model does not read the others. A
            plan of fields without interactions leaves it all interactions of these.
            Defaults to `None`: all fields are kept.
        values: dict or None. By the name of a vocabulary, that of the feature that owns it, whether
            each of its ids is kept: OptFS' feature set. The model reads the others as missing. A
            plan of values without interactions leaves it all. Defaults to `None`: all are kept.
        groups: list of `Group`. AutoGroup's, which no other model reads. Two may have the same
            fields, as each weighs them in a way of its own. Defaults to `()`.
        cells: list of `Cell`. AutoFeature's, which no other model reads. Defaults to `()`.

    Raises:
        ValueError: for a duplicate interaction, or one of a field that is not kept.

    Example:

    >>> plan = InteractionPlan([Interaction(("user", "item"), gate=0.7)])
    >>> plan.combinations(["item", "price", "user"], order=2, function="inner")
    ((0, 2),)

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3;
        [AIM](https://arxiv.org/abs/2111.03318), Section 4;
        [OptInter](https://arxiv.org/abs/2108.01265), Section II;
        [AutoField](https://arxiv.org/abs/2204.09078);
        [OptFS](https://arxiv.org/abs/2301.10909);
        AutoGroup: Liu et al., SIGIR 2020;
        AutoFeature: Khawar et al., CIKM 2020.
    """

    def __init__(
        self,
        interactions: Iterable[Interaction],
        kept_dims: Mapping[str, Mapping[str, Sequence[int]]] | None = None,
        fields: Mapping[str, float] | None = None,
        values: Mapping[str, Sequence[bool] | Array] | None = None,
        groups: Iterable[Group] = (),
        cells: Iterable[Cell] = (),
    ) -> None:
        self.interactions = tuple(interactions)
        self.groups = tuple(groups)
        self.cells = tuple(cells)
        self.kept_dims = {
            table: {field: tuple(map(int, positions)) for field, positions in fields.items()}
            for table, fields in (kept_dims or {}).items()
        }
        seen: set[tuple[frozenset[str], str]] = set()
        for interaction in self.interactions:
            # A pair has one method, but may have several functions.
            kind = "method" if interaction.function in METHODS else interaction.function
            key = (frozenset(interaction.fields), kind)
            if key in seen:
                raise ValueError(f"duplicate interaction: {interaction}")
            seen.add(key)
        self.fields = None if fields is None else {name: float(fields[name]) for name in fields}
        if fields is not None and not fields:
            raise ValueError("a plan of fields keeps one at least")
        self.values = {name: np.array(kept, bool) for name, kept in (values or {}).items()}
        for part in self._parts:
            dropped = [name for name in part.fields if name not in (fields or (name,))]
            if dropped:
                raise ValueError(f"{part} has a field that the plan does not keep")

    @classmethod
    def complete(
        cls,
        field_names: Sequence[str],
        orders: Iterable[int] = (2,),
        functions: Iterable[str] = ("inner",),
    ) -> InteractionPlan:
        """The plan of all combinations, from which a search starts.

        Args:
            field_names: list of str.
            orders: list of int. Defaults to `(2,)`.
            functions: list of str. Defaults to `("inner",)`.

        Example:

        >>> len(InteractionPlan.complete(["a", "b", "c"], orders=(2, 3)).interactions)
        4
        """
        orders = tuple(orders)
        return cls(
            Interaction(fields, function)
            for function in functions
            for order in orders
            for fields in itertools.combinations(field_names, order)
        )

    @property
    def _parts(self) -> tuple[Interaction | Group | Cell, ...]:
        return (*self.interactions, *self.groups, *self.cells)

    @property
    def kinds(self) -> tuple[tuple[int, str], ...]:
        """The pairs of order and function that occur, by order and then by function."""
        present = {(i.order, i.function) for i in self.interactions}
        every = itertools.product(ORDERS, (*FUNCTIONS, *METHODS))
        return tuple(kind for kind in every if kind in present)

    def restricted(self, orders: Iterable[int]) -> InteractionPlan:
        """The plan without interactions of other orders."""
        orders = tuple(orders)
        chosen = (i for i in self.interactions if i.order in orders)
        others = (self.kept_dims, self.fields, self.values, self.groups, self.cells)
        return InteractionPlan(chosen, *others)

    def combinations(
        self, field_names: Sequence[str], order: int, function: str
    ) -> tuple[tuple[int, ...], ...]:
        """Sorted tuples of field indices of one kind of interaction, as layers take them.

        Args:
            field_names: list of str. The fields in the order of a model's embeddings.
            order: int.
            function: str.

        Raises:
            ValueError: for fields of the plan that are not among them.
        """
        self.check(field_names)
        index = {name: position for position, name in enumerate(field_names)}
        return tuple(
            sorted(
                tuple(sorted(index[name] for name in interaction.fields))
                for interaction in self.interactions
                if (interaction.order, interaction.function) == (order, function)
            )
        )

    def check(self, field_names: Sequence[str]) -> None:
        """Checks that a model has all fields of the plan.

        Args:
            field_names: list of str. The fields of the model.

        Raises:
            ValueError: naming those that it lacks.

        Example:

        >>> InteractionPlan([Interaction(("user", "item"))]).check(["user", "price"])
        Traceback (most recent call last):
        ValueError: unknown fields in the plan: item; available: user, price
        """
        named = {name for part in self._parts for name in part.fields}
        named |= {name for fields in self.kept_dims.values() for name in fields}
        named |= set(self.fields or ())
        unknown = sorted(named - set(field_names))
        if unknown:
            raise ValueError(
                f"unknown fields in the plan: {', '.join(unknown)}; "
                f"available: {', '.join(field_names)}"
            )

    def summary(self) -> str:
        """Tables of the interactions, groups and cells, the largest gates first, of embedding
        widths, of fields and of how many of their values are kept.

        Example:

        >>> print(InteractionPlan([Interaction(("user", "item"), gate=0.7)]).summary())
        fields       function    gate
        user x item  inner     0.7000
        """
        tables = []
        if self.interactions or not (self.fields or self.values or self.groups or self.cells):
            tables.append([("fields", "function", "gate")])
            tables[-1] += [
                (" x ".join(i.fields), i.function, f"{i.gate:.4f}")
                for i in sorted(self.interactions, key=lambda i: -abs(i.gate))
            ]
        if self.groups:
            tables.append([("group", "order", "gate")])
            tables[-1] += [
                (", ".join(group.fields), str(group.order), f"{group.gate:.4f}")
                for group in sorted(self.groups, key=lambda group: -group.gate)
            ]
        if self.cells:
            tables.append([("cell", "", "gate")])
            tables[-1] += [
                (cell.formula, "", f"{cell.gate:.4f}")
                for cell in sorted(self.cells, key=lambda cell: -cell.gate)
            ]
        if self.kept_dims:
            tables.append([("field", "table", "dimensions")])
            tables[-1] += [
                (field, table, str(len(positions)))
                for table, fields in self.kept_dims.items()
                for field, positions in fields.items()
            ]
        if self.fields is not None:
            tables.append([("field", "", "gate")])
            ranked = sorted(self.fields.items(), key=lambda field: -field[1])
            tables[-1] += [(name, "kept", f"{gate:.4f}") for name, gate in ranked]
        if self.values:
            tables.append([("field", "values", "kept")])
            tables[-1] += [
                (name, str(len(kept)), str(int(kept.sum()))) for name, kept in self.values.items()
            ]
        return "\n\n".join(_aligned(table) for table in tables)

    # On disk.

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, read back by `from_dict`."""
        return {
            "version": FORMAT_VERSION,
            "interactions": [dataclasses.asdict(i) for i in self.interactions],
            "kept_dims": self.kept_dims,
            "fields": self.fields,
            "values": {name: _packed(kept) for name, kept in self.values.items()},
            "groups": [dataclasses.asdict(group) for group in self.groups],
            "cells": [dataclasses.asdict(cell) for cell in self.cells],
        }

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> InteractionPlan:
        """The inverse of `to_dict`.

        Raises:
            ValueError: for another version, or something that is not an interaction.
        """
        if config.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"the plan has format version {config.get('version')!r}; this library reads "
                f"{FORMAT_VERSION}"
            )
        known = {field.name for field in dataclasses.fields(Interaction)}
        for interaction in config["interactions"]:
            if not {"fields"} <= set(interaction) <= known:
                raise ValueError(
                    f"an interaction has {', '.join(sorted(known))}. Received: {interaction}"
                )
        interactions = [Interaction(**i) for i in config["interactions"]]
        values = {name: _unpacked(**kept) for name, kept in config.get("values", {}).items()}
        groups = [Group(**group) for group in config.get("groups", ())]
        cells = [Cell(**cell) for cell in config.get("cells", ())]
        others = (config.get("kept_dims"), config.get("fields"), values, groups, cells)
        return cls(interactions, *others)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `plan.json`, as a whole or not at all."""
        partial = f"{os.fspath(path)}.partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2)
            file.write("\n")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InteractionPlan:
        """Reads a `plan.json`.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is not a plan, naming the file.
        """
        name = os.fspath(path)
        try:
            with open(path, encoding="utf-8") as file:
                return cls.from_dict(json.load(file))
        except OSError as error:
            raise type(error)(f"no interaction plan at {name}: {error.strerror}") from None
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{name} is not an interaction plan: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InteractionPlan) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = "" if self.fields is None else f", {len(self.fields)} fields"
        count = sum(int(kept.sum()) for kept in self.values.values())
        values = f", {count} values" if self.values else ""
        parts = {"groups": len(self.groups), "cells": len(self.cells)}
        more = "".join(f", {parts[name]} {name}" for name in parts if parts[name])
        return f"InteractionPlan({len(self.interactions)} interactions{fields}{values}{more})"


def _packed(kept: Array) -> dict[str, Any]:
    """Bits as JSON can hold them, an eighth of a byte each: vocabularies have millions of ids."""
    bits = np.packbits(kept).tobytes()
    return {"count": len(kept), "kept": base64.b64encode(bits).decode("ascii")}


def _unpacked(count: int, kept: str) -> Array:
    bits = np.frombuffer(base64.b64decode(kept, validate=True), np.uint8)
    if len(bits) != -(-count // 8):
        raise ValueError(f"{len(bits)} bytes hold no {count} bits")
    values: Array = np.unpackbits(bits, count=count).astype(bool)
    return values


def _aligned(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows as lines: columns are padded to one width, the last is aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third:>{widths[2]}}"
        for first, second, third in rows
    )
