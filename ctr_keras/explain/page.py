"""Pictures with their captions and tables, and the one page that holds them all."""

import base64
import dataclasses
import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from ctr_keras.explain.folder import EXPLAIN
from ctr_keras.pages import render

_DOTS_PER_INCH = 120


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, or none, what it shows, and a table of its numbers."""

    name: str  # of its file, without `.png`
    title: str
    caption: str
    figure: Figure | None
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    is_open: bool = False  # whether the table shows before it is asked for

    def png(self) -> bytes:
        """The figure as a PNG file, empty without one."""
        if self.figure is None:
            return b""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight")
        return file.getvalue()


def render_page(
    title: str,
    facts: Sequence[Sequence[str]],
    pictures: Sequence[tuple[Picture, bytes]],
    generator: str = EXPLAIN,
) -> str:
    """An HTML page of pictures with their PNG files that needs no other file and no network."""
    parts = [(picture, base64.b64encode(png).decode("ascii")) for picture, png in pictures]
    values = {"title": title, "facts": facts, "pictures": parts, "generator": generator}
    return render(__package__, "page.html", {"cell": _cell}, **values)


def _cell(value: object) -> str:
    """Four digits tell gates and weights apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
