"""What the README and the pages show runs as it stands there; the site is built without a fault."""

import re
import shlex
import subprocess
import sys

import click
import pytest

from ctr_keras.cli import main
from tests.conftest import ROOT
from tests.processes import Command

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
def test_the_tutorial_goes_from_a_log_to_a_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "docs/tutorial.md"
    exec("\n".join(snippets(page, "python")).replace("rows = 20_000", "rows = 4_000"), {})
    *lines, last = "".join(snippets(page, "bash")).splitlines()
    assert len(lines) <= 12
    server = None
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "ctr-keras"
        command = Command(*(word for word in words if word != "&"))
        if words[-1] == "&":
            server = command
        else:
            assert command.ended(600) == 0, command.output
    assert last == "kill %1"
    server.terminate()
    scores = [float(score) for score in command.output.splitlines()[-100:]]
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
