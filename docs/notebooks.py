"""A hook of MkDocs: the site has each tutorial as a notebook, too, made of the same page."""

import json
import re
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_FOLDER = "tutorials/"
_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```\n", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for file in [*files.documentation_pages()]:
        if file.src_uri.startswith(_FOLDER):
            notebook = json.dumps(_notebook(file.content_string), indent=1)
            files.append(File.generated(config, _notebook_of(file.src_uri), content=notebook))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if not page.file.src_uri.startswith(_FOLDER):
        return markdown
    name = _notebook_of(page.file.src_uri).removeprefix(_FOLDER)
    title, _, text = markdown.partition("\n")
    return f"{title}\n\n[As a notebook]({name})\n{text}"


def _notebook_of(page: str) -> str:
    return page.removesuffix(".md") + ".ipynb"


def _notebook(text: str) -> dict[str, Any]:
    cells = [
        {
            "id": f"cell-{number}",
            "cell_type": kind,
            "metadata": {},
            "source": source.strip("\n").splitlines(keepends=True),
            **({"outputs": [], "execution_count": None} if kind == "code" else {}),
        }
        for number, (kind, source) in enumerate(_cells(text))
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def _cells(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for block in _BLOCK.finditer(text):
        if text[end : block.start()].strip():
            yield "markdown", text[end : block.start()]
        language, code = block.groups()
        for cell in _commands(code) if language == "bash" else [code]:
            yield "code", cell
        end = block.end()
    if text[end:].strip():
        yield "markdown", text[end:]


def _commands(lines: str) -> Iterator[str]:
    """Cells of a shell's commands; a server's is a process that a later cell ends."""
    for line in lines.splitlines():
        if line.endswith(" &"):
            yield f"%%bash --bg --proc server\n{line.removesuffix(' &')}"
        else:
            yield "server.terminate()" if line == "kill %1" else f"!{line}"
