"""Writes docs/compatibility.md from the results that `make matrix` keeps.

    python -m tests.compatibility.page FOLDER

It ends with an error if a combination has no result; the page says FAILS there.
"""

import dataclasses
import importlib.metadata
import itertools
import pathlib
import platform
import sys
from collections.abc import Iterator, Mapping

from tests.compatibility.axes import AXES, Combination
from tests.compatibility.covering import covering
from tests.compatibility.refusals import EXPECTED, Refusal, refusals_of
from tests.compatibility.results import kept
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
VERSIONS = (
    *("keras", "tensorflow", "jax", "torch", "numpy"),
    *("tf2onnx", "onnx", "onnxruntime", "ai-edge-litert"),
)
TITLE = """# Compatibility

Every model, optimizer, precision, saved form, callback and mode of this library with each other:
each combination **works** or is **refused** with the message of that number. What Keras gets wrong
without a message is a **limit** of that number. `make matrix` runs them and writes this page.

A combination trains a small model for two steps; losses are finite and weights move. The callback
has done its work: the learning rate is the scheduled one, files load and score the same, the best
weights are back and have the loss that validation said, a backup goes on with the same weights,
TensorBoard has the losses. The saved form is loaded again (SavedModel by TensorFlow, ONNX by ONNX
Runtime, LiteRT by its interpreter) and gives the same scores; a Checkpoint gives the same next
step, too. int8 is a model that is trained in float32 and then quantized; its scores stay within
.01. `compiled` is what `compile` does by default, `XLA` is `jit_compile=True`, `schedule` is a
learning-rate schedule in the optimizer.
"""


def main(folder: pathlib.Path) -> None:
    """Writes the page; raises SystemExit if a combination fails."""
    results = {one: kept(one, folder) for one in covering()}
    PAGE.write_text("\n".join(_page(results)))
    failed = [f"{one.backend}-{one}" for one, message in results.items() if message is None]
    if failed:
        raise SystemExit(f"{len(failed)} combinations failed or did not run: {', '.join(failed)}")


def _page(results: Mapping[Combination, str | None]) -> Iterator[str]:
    backends = " and ".join(AXES["backend"])
    yield TITLE
    yield (
        f"Every two values of two axes occur together, on {backends} each: {len(results)} "
        f"combinations, {sum(message == '' for message in results.values())} of which work and "
        f"{sum(bool(message) for message in results.values())} are refused or a limit. "
        f"Python {platform.python_version()}, {', '.join(_versions())}.\n"
    )
    yield "## What is refused\n"
    yield "| | refused | message | why | raised by |\n|---|---|---|---|---|"
    for number, refusal in enumerate(EXPECTED, 1):
        where = "; ".join(_named(refusal, axis) for axis in refusal.where)
        message = _message(refusal, results).replace("|", "\\|").replace("\n", " ")
        yield f"| {number} | {where} | {message} | {refusal.why} | {refusal.raised_by} |"
    yield "\n## Pairs\n"
    yield from _pairs(results)


def _versions() -> Iterator[str]:
    for name in VERSIONS:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def _named(refusal: Refusal, axis: str) -> str:
    return f"{axis} {', '.join(refusal.values(axis))}"


def _message(refusal: Refusal, results: Mapping[Combination, str | None]) -> str:
    """What was raised by a combination that falls under a refusal, in full."""
    raised = (
        message for one, message in results.items() if refusal in refusals_of(one) and message
    )
    return next((message for message in raised if refusal.begins(message)), "FAILS")


def _pairs(results: Mapping[Combination, str | None]) -> Iterator[str]:
    """A table for each two axes, or a line where every cell says the same."""
    for first, second in itertools.combinations([axis for axis in AXES if axis != "backend"], 2):
        cells = {
            (a, b): _cell({first: a, second: b}, results) for a in AXES[first] for b in AXES[second]
        }
        if set(cells.values()) == {"works"}:
            yield f"Each {first} works with each {second}: {len(cells)} pairs.\n"
            continue
        yield f"| {first} | {' | '.join(AXES[second])} |"
        yield "|---" * (len(AXES[second]) + 1) + "|"
        for a in AXES[first]:
            yield f"| {a} | {' | '.join(cells[a, b] for b in AXES[second])} |"
        yield ""


def _cell(pair: Mapping[str, str], results: Mapping[Combination, str | None]) -> str:
    """What came of two values on all backends, or on each."""
    by_backend = {name: _outcome({**pair, "backend": name}, results) for name in AXES["backend"]}
    outcomes = set(by_backend.values())
    if len(outcomes) == 1:
        return outcomes.pop()
    return ", ".join(f"{name}: {outcome}" for name, outcome in by_backend.items())


def _outcome(values: Mapping[str, str], results: Mapping[Combination, str | None]) -> str:
    """Works, if all that no refusal of other values stops does; refused, if one of these does."""
    numbers = [n for n, refusal in enumerate(EXPECTED, 1) if refusal.rules_out(values)]
    here = {
        one: message
        for one, message in results.items()
        if values.items() <= dataclasses.asdict(one).items()
    }
    if any(message is None for message in here.values()):
        return "FAILS"
    if numbers:
        is_silent = all(EXPECTED[n - 1].raised_by == "nobody" for n in numbers)
        return f"{'limit' if is_silent else 'refused'} ({', '.join(map(str, numbers))})"
    return "works" if "" in here.values() else "does not occur"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
