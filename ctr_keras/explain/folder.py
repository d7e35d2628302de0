"""The folder of a page and its pictures: there as a whole or not at all."""

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs the packages for plots
    from ctr_keras.explain.page import Picture

PAGE = "index.html"
EXPLAIN = "ctr-keras explain"  # the generator by which a page of ours is recognized
_PACKAGES = ("jinja2", "matplotlib")


def check_packages() -> None:
    """Checks that there is what pictures need.

    Raises:
        ModuleNotFoundError: naming the package that is missing, and the extra that brings it.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"pictures need {package}: pip install 'ctr-keras[plots]'", name=package
            )


def check_out(out: str, what: str = "an explanation", generator: str = EXPLAIN) -> None:
    """Checks that nothing but an earlier page of the same generator would be lost.

    Raises:
        ValueError: naming the folder, if it holds something else.
    """
    if os.path.isdir(out) and (not os.listdir(out) or _is_of(generator, out)):
        return
    if os.path.lexists(out):
        raise ValueError(f"{out} holds something that is not {what}; choose another folder")


def _is_of(generator: str, folder: str) -> bool:
    path = os.path.join(folder, PAGE)
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return f'content="{generator}"' in file.read(1000)


def write_page(
    out: str,
    title: str,
    facts: Sequence[tuple[str, str]],
    pictures: "Sequence[Picture]",
    *,
    generator: str = EXPLAIN,
    others: Mapping[str, str] | None = None,
) -> list[str]:
    """Writes to a folder next to it and renames that, so that half of it is never found.

    Args:
        out: the folder.
        title, facts, pictures: of the page.
        generator: the command that makes it.
        others: text of further files by name.

    Returns:
        Paths of the files, the page last.
    """
    from ctr_keras.explain.page import render_page

    out = os.path.normpath(out)
    partial = f"{out}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    images = [picture.png() for picture in pictures]
    page = render_page(title, facts, list(zip(pictures, images, strict=True)), generator)
    files = {f"{p.name}.png": image for p, image in zip(pictures, images, strict=True)}
    files |= {name: text.encode() for name, text in {**(others or {}), PAGE: page}.items()}
    for name, content in files.items():
        with open(os.path.join(partial, name), "wb") as file:
            file.write(content)
    if os.path.exists(out):
        shutil.rmtree(out)
    os.rename(partial, out)
    return [os.path.join(out, name) for name in files]
