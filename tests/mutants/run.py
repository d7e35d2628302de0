"""Mutation testing: breaks one module in small ways and counts how many of them its tests notice.

Cosmic Ray makes the mutants. Each is tested in a process forked from this one, which has imported
the heavy libraries but run nothing with them, so a mutant costs its tests alone, the fastest first.
All this happens in a copy of the repository. `equivalent.yaml` lists the mutants, looked at one by
one, that no test can tell from the module; they are not run.

`python tests/mutants/run.py ctr_keras/layers/interacting.py`, or `make mutants MODULE=...`
"""

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import itertools
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import cosmic_ray.plugins
import pytest
import yaml
from cosmic_ray.commands.init import _all_work_items as all_work_items
from cosmic_ray.mutating import mutate_code

HEAVY = {
    "ctr_keras": ("scipy", "hypothesis", "keras", "tensorflow"),
    "pipeline": ("tensorflow", "apache_beam", "tensorflow_transform"),
    "serving": ("hypothesis", "keras", "tensorflow", "aiohttp", "grpc"),
}
EQUIVALENT = pathlib.Path(__file__).resolve().with_name("equivalent.yaml")
SURVIVORS = pathlib.Path(".mutants")
DEFAULTS = "tests/test_docstrings.py::test_documented_arguments_and_defaults_are_the_real_ones"
# Mutants that tell nothing: bits for arithmetic and the reverse, which no operand here has both of,
# and `is` for `==`, which is as good for short strings and small numbers in CPython.
# `<` for `==` before a string compares names by the alphabet.
ARITHMETIC, BITS = "(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)", "(RShift|LShift|BitOr|BitAnd|BitXor)"
IDLE = re.compile(f"_{ARITHMETIC}_{BITS}$|_{BITS}_{ARITHMETIC}$|_(Eq|NotEq|[LG]tE?)_Is(Not)?$")
ALPHABET = re.compile(r"[<>]=? [\"']")


class Mutant(NamedTuple):
    name: str  # where it is, and the mutated line or, if it is gone, `- ` and the line
    code: str


def mutants_of(module: pathlib.Path) -> Iterator[Mutant]:
    """Every mutant that compiles, annotations left alone, always in the same random order."""
    source = module.read_text()
    annotations = list(annotations_of(source))
    items = list(all_work_items([module], {}))
    random.Random(0).shuffle(items)
    for item in items:
        (spec,) = item.mutations
        in_annotation = any(start <= spec.start_pos < end for start, end in annotations)
        if in_annotation or IDLE.search(spec.operator_name):
            continue
        operator = cosmic_ray.plugins.get_operator(spec.operator_name)()
        code = mutate_code(source, operator, spec.occurrence)
        line = changed_line(source, code)
        if not ALPHABET.search(line):
            with contextlib.suppress(SyntaxError):
                compile(code, str(module), "exec", dont_inherit=True)
                yield Mutant(f"{spec.definition_name or 'module'}: {line}", code)


def annotations_of(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of each annotation, as (line, column)."""
    for node in ast.walk(ast.parse(source)):
        for field in ("annotation", "returns"):
            if part := getattr(node, field, None):
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def changed_line(source: str, code: str) -> str:
    _, _, _, *lines = difflib.unified_diff(source.split("\n"), code.split("\n"), n=0, lineterm="")
    added = [line[1:] for line in lines if line.startswith("+")]
    return " ".join((added[0] if added else f"- {lines[-1][1:]}").split())


class FastestFirst:
    """A plugin of pytest: runs tests in the order of their seconds, and measures these."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.measured: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.measured[report.nodeid] = self.measured.get(report.nodeid, 0) + report.duration

    @pytest.hookimpl(trylast=True)  # `tests.plugin` sorts for several processes
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))


def tested(tests: list[str], seconds: dict[str, float], timeout: float | None) -> tuple[bool, dict]:
    """Whether the tests pass in a forked process, and how long each takes there."""
    results, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        os.setsid()
        with open("pytest.log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        plugin = FastestFirst(seconds)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[plugin])
        sender.send((code == pytest.ExitCode.OK, plugin.measured))
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    sender.close()
    try:
        return results.recv() if results.poll(timeout) else (False, {})
    except EOFError:  # it crashed
        return False, {}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # with what its tests have started
        process.join()


@contextlib.contextmanager
def copy_of_the_repository() -> Iterator[None]:
    """Works in a copy, from which this process and those it starts import."""
    here = pathlib.Path.cwd()
    os.environ.setdefault("CTR_KERAS_DATA", str(here.parent / "shared" / "data"))
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    with tempfile.TemporaryDirectory() as folder:
        for file in filter(os.path.exists, files):
            copy = pathlib.Path(folder, file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = folder
        sys.path[:] = [folder, *(path for path in sys.path if path != str(here))]
        try:
            yield
        finally:
            os.chdir(here)


def survivors_of(module: pathlib.Path, tests: list[str], mutants: list[Mutant]) -> Iterator[str]:
    """The names of the mutants that pass the tests."""
    for library in HEAVY[module.parts[0]]:
        importlib.import_module(library)
    gc.freeze()  # collections in the forked processes pass by what is imported
    with copy_of_the_repository():
        sys.dont_write_bytecode = False
        start = time.monotonic()
        passed, seconds = tested(tests, {}, None)
        if not passed:
            sys.exit(pathlib.Path("pytest.log").read_text() + "These tests fail without a mutant.")
        timeout = 3 * (time.monotonic() - start) + 30
        sys.dont_write_bytecode = True  # that of all modules but the mutants is there by now
        pathlib.Path(importlib.util.cache_from_source(str(module))).unlink()
        for number, mutant in enumerate(mutants, start=1):
            module.write_text(mutant.code)
            if tested(tests, seconds, timeout)[0]:
                print(f"{number}/{len(mutants)} {mutant.name}", flush=True)
                yield mutant.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", type=pathlib.Path)
    parser.add_argument("--tests", nargs="+", help="instead of the module's own")
    parser.add_argument("--sample", type=int, help="this many mutants, drawn at random")
    parser.add_argument("--again", action="store_true", help="only those that survived last time")
    options = parser.parse_args()
    module = options.module
    last = SURVIVORS / f"{'.'.join(module.with_suffix('').parts)}.txt"

    mutants = list(itertools.islice(mutants_of(module), options.sample))
    if options.again:
        mutants = [mutant for mutant in mutants if mutant.name in last.read_text().splitlines()]
    reasons = yaml.safe_load(EQUIVALENT.read_text()).get(str(module), {})
    listed = set(itertools.chain(*reasons.values()))
    others = [mutant for mutant in mutants if mutant.name not in listed]
    survivors = list(survivors_of(module, options.tests or tests_of(module), others))
    SURVIVORS.mkdir(exist_ok=True)
    last.write_text("\n".join(survivors))
    killed = len(others) - len(survivors)
    print(
        f"{module}: {len(mutants)} mutants, {len(mutants) - len(others)} equivalent, "
        f"{killed} killed, {len(survivors)} survived: {killed / max(len(others), 1):.1%}"
    )


def tests_of(module: pathlib.Path) -> list[str]:
    """The module's tests, or where it has no file of its own those of its folder."""
    in_library = module.parts[0] == "ctr_keras"
    tests = pathlib.Path("tests", *module.parts[in_library:]).with_name(f"test_{module.name}")
    return [str(tests if tests.exists() else tests.parent), *([DEFAULTS] if in_library else [])]


if __name__ == "__main__":
    main()
