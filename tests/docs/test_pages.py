"""What the README and the pages show runs as it stands there; the site is built without a fault."""

import json
import re
import subprocess
import sys

import click
import pytest

from ctr_keras.cli import main
from tests.conftest import ROOT

DOCS = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("models", "searches", "training"))]


def snippets(page, language):
    """The blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in snippets(page, "python"):
        if "# in any other process" in code:
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        else:
            exec(compile(code, page, "exec"), names)
    assert names


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", ["README.md", *(str(p) for p in DOCS)])
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert re.match("https?:", target) or (folder / target).exists(), target


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
    notebook = json.loads((tmp_path / "tutorials" / "serving.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code[0] == "!ctr-keras synthesize --rows 6000 --out log"
    assert code[-1] == "server.terminate()"
    assert "serving.ipynb" in (tmp_path / "tutorials" / "serving" / "index.html").read_text()
