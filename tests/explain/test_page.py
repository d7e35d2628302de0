"""The page: one file, nothing from elsewhere, no text taken for HTML."""

import base64
import html.parser

import pytest
from matplotlib.figure import Figure

from ctr_keras.explain.page import Picture, render_page


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def picture(**changes):
    settings = {
        "name": "gates",
        "title": "Gates",
        "caption": "By pair.",
        "figure": Figure(),
        "header": ("field", "gate"),
        "rows": [("user", 0.123456), ("item", 3)],
    }
    return Picture(**settings | changes)


@pytest.fixture(scope="module")
def hostile():
    """A page all of whose texts would be markup."""
    evil = '<script src="http://x.test/a.js"></script>&"\''
    shown = picture(title=evil, caption=evil, header=(evil, evil), rows=[(evil, 1.0)])
    return evil, Reader(render_page(evil, [(evil, evil)], [(shown, b"PNG")]))


def test_texts_are_escaped(hostile):
    evil, page = hostile
    assert "script" not in {tag for tag, _ in page.tags}
    assert "".join(page.text).count(evil) == 10  # title and fact twice, three more, table thrice
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["alt"] == f"{evil}. {evil}"


def test_a_page_needs_nothing_else(hostile):
    for tag, attributes in hostile[1].tags:
        assert tag not in ("link", "script", "iframe", "object")
        for name in ("src", "href", "srcset"):
            assert attributes.get(name, "#")[:1] == "#" or attributes[name].startswith("data:")


def test_a_page_holds_images_and_numbers():
    page = Reader(render_page("Title", [("run", "r")], [(picture(), b"the file")]))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == b"the file"
    cells = [attributes.get("class") for tag, attributes in page.tags if tag == "td"]
    assert cells == [None, "number", None, "number"]
    assert {"user", "0.1235", "item", "3"} <= set(page.text)
