"""What the README and the pages show runs as it stands there; the site is built without a fault."""

import os
import re
import subprocess
import sys

import click
import pytest

from ctr_keras.cli import main
from tests.conftest import ROOT

PAGES = ["README.md", *(f"docs/{name}.md" for name in ("models", "searches", "training"))]


def snippets(page, language):
    """The blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in snippets(page, "python"):
        exec(compile(code, page, "exec"), names)
    assert names


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(
    "page", [*PAGES, *(f"docs/{n}.md" for n in ("index", "data", "serving", "faq"))]
)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert (folder / target).exists(), target


def test_commands_have_the_options_that_pages_give_them():
    given = 0
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for name, rest in re.findall(r"ctr-keras +([a-z]+)([^`\n|]*)", path.read_text()):
            command = main.get_command(click.Context(main), name)
            assert command is not None, f"{path}: {name}"
            if name == "prepare":  # which hands on what it does not know to Beam
                continue
            known = {option for of in command.params for option in (*of.opts, *of.secondary_opts)}
            options = re.findall(r"(?<!\S)--[\w-]+", rest)
            assert {*options} <= known | {"--help"}, f"{path}: {name} {options}"
            given += len(options)
    assert given > 100


@pytest.mark.slow
def test_the_tutorial_goes_from_a_log_to_a_score(tmp_path):
    script = "\n".join(
        ["set -e", "trap 'kill $(jobs -p)' EXIT", *snippets("docs/tutorial.md", "bash")]
    )
    commands = [line for line in script.splitlines() if line.startswith("ctr-keras")]
    assert len(commands) <= 12
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
    for command in (
        [sys.executable, "-c", "\n".join(snippets("docs/tutorial.md", "python"))],
        ["bash", "-c", script],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
    scores = [float(line) for line in done.stdout.splitlines()[-100:]]
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) > 50


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "InteractingLayer" in (tmp_path / "reference" / "layers" / "index.html").read_text()
