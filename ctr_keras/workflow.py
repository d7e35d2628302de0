"""From raw logs to a served model as one graph of commands, of which none is run again in vain.

Each step is a command of `ctr-keras` of its own, in a process of its own. What it writes has a name
with a digest of all that decides it: its options, the files that it reads, and the same of the
steps before. A step that was stopped goes on in the folder that it began.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import click

from ctr_keras import early
from ctr_keras.files import File, exists, files_below, find, open_input, read_json, write_json
from ctr_keras.limits import Limit, metric_names
from ctr_keras.programs import program
from ctr_keras.settings import Source, did_you_mean
from ctr_keras.version import __version__

_STATE = "steps.json"
_LINES = 3  # of a command's last words, where it fails
# By step: its options that are outputs of others; its own output, by name; the steps before.
_WIRES: dict[str, tuple[dict[str, str], str, str]] = {
    "prepare": ({}, "--out", "{out}/prepare-{digest}"),
    "stats": ({"--data": "prepare"}, "--out", "{out}/stats-{digest}.html"),
    "search": ({"--data": "prepare"}, "--out", "{out}/search-{digest}"),
    "tune": ({"--data": "prepare"}, "--out", "{out}/tune-{digest}"),
    "train": ({"--data": "prepare"}, "--out", "{out}/train-{digest}"),
    "evaluate": ({"--run": "train"}, "", "{out}/evaluate-{digest}.json"),
    "export": ({"--run": "train"}, "--out", "{out}/models/{name}"),
    "deploy": ({"--models": "export"}, "--out", "{out}/deploy-{digest}"),
}
_FILES = ("source", "dataset", "config", "space")  # options that name what a step reads


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of the graph.

    Attributes:
        name: str. That of the command.
        options: dict. Its own options, as they were written.
        wires: dict. Its options whose values are outputs of other steps.
        output: str. What it writes.
        parts: dict. What decides the output, by a name for each part.
        key: str. `"train-1a2b3c4d"`, with the digest of these parts.
        place: str. Where it was written: `"flow.yaml, line 3: "`.
    """

    name: str
    options: Mapping[str, Any]
    wires: Mapping[str, str]
    output: str
    parts: Mapping[str, Any]
    key: str
    place: str

    @property
    def words(self) -> list[str]:
        """The command, without `ctr-keras`."""
        wires = [word for option in self.wires.items() for word in option]
        extra = ["--json"] if self.name == "evaluate" else []
        return [self.name, *wires, *_all_words(self.options), *extra]

    @property
    def command(self) -> str:
        """The command, as a shell takes it."""
        to = f" > {shlex.quote(self.output)}" if self.name == "evaluate" else ""
        return f"ctr-keras {shlex.join(self.words)}{to}"


def read_workflow(
    path: str, command_of: Callable[[str], click.Command | None]
) -> tuple[str, list[Step]]:
    """The folder and the steps of a YAML file, in their order.

    Args:
        path: str. Its keys are `out`, the folder; `name`, that of the served model; and a step
            each: `prepare`, `stats`, `search`, `tune`, `train`, `evaluate`, `export`, `deploy`,
            with the options of the command as keys and values. Steps that are not there are left
            out; `prepare` and `train` have to be. Models are tuned and trained on the plan that is
            found, and trained with the settings that are the best.
        command_of: function. The command of a name, whose options a step may have.

    Raises:
        ValueError: for a key that is unknown, missing or set by the graph, with file and line.
    """
    source = Source.read(path)
    known = (*_WIRES, "out", "name")
    for key in source.values:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(f"{source.place(key)}unknown step {key!r}{hint}")
    source.require("out", "prepare", "train", *(["name"] if "export" in source.values else []))
    if "deploy" in source.values and "export" not in source.values:
        raise ValueError(f"{source.place('deploy')}deploy needs the step export")
    out, name = str(source.values["out"]), str(source.values.get("name"))
    steps: dict[str, Step] = {}
    for step in _WIRES:
        if step in source.values:
            command = command_of(step)
            assert command is not None, step
            options = _options(source, step, command)
            steps[step] = _step(step, options, source.place(step), steps, out, name)
    return out, [*steps.values()]


def _options(source: Source, step: str, command: click.Command) -> dict[str, Any]:
    """A step's keys and values, each an option of its command."""
    if source.values[step] is None:
        return {}
    given = source.at(step)
    wires, output, _ = _WIRES[step]
    known = {
        option.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option not in (*wires, output)
    }
    for key, value in given.values.items():
        if key not in known:
            said = "is set by the graph" if f"--{key}" in (*wires, output) else "is unknown"
            raise ValueError(
                f"{given.place(key)}option {key!r} of {step} {said}{did_you_mean(key, known)}"
            )
        several = known[key].multiple
        if isinstance(value, list | dict) and not several:
            raise ValueError(f"{given.place(key)}{key} of {step} takes one value, got {value!r}")
        _check_values(key, value, known[key], f"{given.place(key)}{key} of {step}: ")
    return dict(given.values)


def _check_values(key: str, value: Any, option: click.Option, place: str) -> None:
    """Checks that an option's values are what it takes."""
    for word in _words(key, value):
        if word != f"--{key}":
            try:
                option.type.convert(word, option, None)
            except click.BadParameter as error:
                raise ValueError(f"{place}{error.message}") from None


def _step(
    name: str,
    options: Mapping[str, Any],
    place: str,
    before: Mapping[str, Step],
    out: str,
    model: str,
) -> Step:
    wires, output_option, output = _WIRES[name]
    if name in ("tune", "train") and "search" in before:
        wires = {**wires, "--set": "search"}
    if name == "train" and "tune" in before:
        wires = {**wires, "--config": "tune"}
    parts = {
        "the version of ctr-keras": __version__,
        "options": _all_words(options),
        **{f"files of {key}": _seen(str(options[key])) for key in _FILES if key in options},
        **{f"step {step}": before[step].key for step in dict.fromkeys(wires.values())},
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
    output = output.format(out=out, digest=digest, name=model)
    inputs = {option: _input(before[step]) for option, step in wires.items()}
    if output_option:
        inputs[output_option] = output
    return Step(name, options, inputs, output, parts, f"{name}-{digest}", place)


def _input(step: Step) -> str:
    """What a later step reads of one."""
    if step.name == "search":
        return f"interactions={step.output}/plan.json"
    if step.name == "tune":
        return f"{step.output}/best.yaml"
    return os.path.dirname(step.output) if step.name == "export" else step.output


def _all_words(options: Mapping[str, Any]) -> list[str]:
    return [word for option in options.items() for word in _words(*option)]


def _words(key: str, value: Any) -> Iterator[str]:
    """An option as words: `set` takes keys and values, others lists, or true for a flag."""
    if isinstance(value, Mapping):
        value = [
            f"{inner}={json.dumps(of) if isinstance(of, list | dict | bool | None) else of}"
            for inner, of in value.items()
        ]
    for one in value if isinstance(value, list) else [value]:
        if one is not False:
            yield f"--{key}"
            yield from () if one is True else (str(one),)


def _seen(pattern: str) -> list[str]:
    """What tells files apart from what they were: a small one by content, others by their time."""
    found = files_below(pattern) if os.path.isdir(pattern) else []
    return [f"{file.path} {_content(file)}" for file in found or _matching(pattern)]


def _matching(pattern: str) -> list[File]:
    found = find(pattern)
    return found or (files_below(pattern) if exists(pattern) else [])


def _content(file: File) -> str:
    if file.size > 2**20:
        return f"{file.size} {file.modified}"
    with open_input(file.path) as opened:
        return hashlib.sha256(opened.read()).hexdigest()[:16]


def run_workflow(
    out: str, steps: list[Step], tell: Callable[[str], object], only: str | None = None
) -> None:
    """Runs the steps that were not run before, and stops at the first that fails.

    Args:
        out: str. The folder, with `steps.json` of what was done and `logs/` of what was said.
        steps: list of Step.
        tell: function. Is given a line a step: how long it took, or why it was not run.
        only: str or None. The name of the one step to run. Defaults to `None`: all.

    Raises:
        ValueError: for a model, a setting or a limit that a step does not know, before anything is
            run; if there is no step `only`, or one before it was not run.
        RuntimeError: with the last words of the command that has failed.
    """
    path = os.path.join(out, _STATE)
    done: dict[str, Any] = read_json(path) if exists(path) else {}
    to_run = [step for step in steps if not _has_run(step, done.get(step.name, {}))]
    if only:
        steps = [_one(only, steps, to_run)]
    waiting = [step for step in steps if step in to_run]
    for step in waiting:
        _check_names(step)
    for step in waiting[1:]:  # the first one says at once what is wrong with it
        _check_settings(step)
    for step in steps:
        last = done.get(step.name, {})
        if step not in to_run:
            seconds = last["ended"][step.key]
            tell(f"{step.name:<9} as it was ({seconds:.1f} s): nothing has changed")
            continue
        started = time.monotonic()
        _run(step, os.path.join(out, "logs", f"{step.key}.txt"))
        seconds = round(time.monotonic() - started, 1)
        tell(f"{step.name:<9} {seconds:.1f} s{_why(step, last)}: {step.output}")
        ended = {**last.get("ended", {}), step.key: seconds}
        done[step.name] = {"parts": step.parts, "ended": ended}
        write_json(done, path)


def _one(name: str, steps: Sequence[Step], to_run: Sequence[Step]) -> Step:
    """The step of a name, if what comes before it was run."""
    names = [step.name for step in steps]
    if name not in names:
        raise ValueError(f"there is no step {name!r}{did_you_mean(name, names)}")
    place = names.index(name)
    if missing := [step.name for step in steps[:place] if step in to_run]:
        raise ValueError(f"{name} comes after {missing[0]}, which was not run as it is now")
    return steps[place]


def _has_run(step: Step, last: Mapping[str, Any]) -> bool:
    return step.key in last.get("ended", {}) and exists(step.output)


@contextlib.contextmanager
def _located(step: Step) -> Iterator[None]:
    """Says of an error which step it is of."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{step.place}{step.name}: {error}") from None


def _check_names(step: Step) -> None:
    """Refuses a model, a setting or a limit that there is not."""
    with _located(step):
        if _has_settings(step):
            _read_settings(early.read_run, step)
        if step.name == "search":
            _read_search(early.check_search_settings, step)
        if step.name == "evaluate":
            names = metric_names(step.options.get("k", 10))
            for text in _values(step, "require"):
                limit = Limit.read(text)
                # Which labels there are is known when the log is prepared.
                metric = limit.metric.rpartition(".")[2]
                dataclasses.replace(limit, metric=metric).check_among(names)


def _check_settings(step: Step) -> None:
    """Refuses settings that do not go together, which takes Keras to tell."""
    if _has_settings(step):
        from ctr_keras.training import read_config

        with _located(step):
            _read_settings(read_config, step)
    if step.name == "search":
        from ctr_keras.search import read_search

        with _located(step):
            _read_search(read_search, step)


def _has_settings(step: Step) -> bool:
    """Whether a step trains, by settings that are not to be tuned first."""
    return step.name in ("tune", "train") and "--config" not in step.wires


def _read_settings(read: Callable[..., object], step: Step) -> None:
    model = {"model": step.options["model"]} if "model" in step.options else {}
    read(step.options.get("config"), _values(step, "set"), data="", out="", **model)


def _read_search(read: Callable[..., object], step: Step) -> None:
    given = {name: step.options[name] for name in ("order", "base") if name in step.options}
    read(step.options.get("method"), step.options.get("config"), _values(step, "set"), **given)


def _values(step: Step, option: str) -> list[str]:
    """The values of an option, one or several, as words."""
    return [*_words(option, step.options.get(option, []))][1::2]


def _why(step: Step, last: Mapping[str, Any]) -> str:
    """Why a step was run again."""
    if not last:
        return ""
    changed = [part for part, of in step.parts.items() if last["parts"].get(part) != of]
    return f", as {changed[0]} changed" if changed else ", as its output was gone"


def _run(step: Step, log: str) -> None:
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "w", encoding="utf-8") as said:
        status, printed = _ended([*program("ctr_keras.step"), *step.words], said)
        said.write(printed)
    if status:
        with open(log, encoding="utf-8") as file:
            words = [line.strip() for line in file if line.strip()]
        errors = [line for line in words if line.startswith("Error: ")] or words[-_LINES:]
        raise RuntimeError(f"{step.name} has failed: {' '.join(errors)} ({log})")
    if step.name == "evaluate":
        with open(step.output, "w", encoding="utf-8") as file:
            file.write(printed)


def _ended(command: Sequence[str], said: TextIO) -> tuple[int, str]:
    """The exit status of a step, and what it has printed; it does not outlive this process."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # which the step watches
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,  # so that it is told to stop once
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            printed = process.stdout.read()
            return process.wait(), printed
        finally:  # Ctrl-C as well
            process.stdin.close()
            process.wait()
