"""Each model has a section on its family's page, whose generated part is as the model is."""

import re
import runpy

import keras
import pytest

from ctr_keras.layers import CrossLayer
from ctr_keras.listing import FAMILIES, trainable
from tests.conftest import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs" / "draw_models.py"))
_NAMED = re.compile(r"^## (\w+)$|<!-- model: (\w+) -->", re.MULTILINE)


def page(family):
    return (ROOT / "docs" / "models" / f"{family}.md").read_text("utf-8")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_has_a_section_for_each_model_of_its_family(family):
    names = [name for name, entry in trainable().items() if entry.family == family]
    found = [title or mark for title, mark in _NAMED.findall(page(family))]
    assert found[::2] == found[1::2]  # a title and its mark
    assert sorted(found[::2]) == sorted(names)


@pytest.mark.parametrize("name", ["FM", "ETA", "LightGBM"])
def test_a_page_is_up_to_date(name):
    part = f"<!-- model: {name} -->\n{SCRIPT['described'](name)}<!-- end -->"
    assert part in page(trainable()[name].family), "python docs/draw_models.py"


def test_marked_parts_alone_are_written_anew():
    text = "# By hand\n\n<!-- model: LightGBM -->\nold\n<!-- end -->\n\nBy hand, too.\n"
    updated = SCRIPT["updated"](text)
    assert updated.startswith("# By hand\n\n<!-- model: LightGBM -->\n*Ke et al.")
    assert updated.endswith("</details>\n<!-- end -->\n\nBy hand, too.\n")
    assert "old" not in updated


def test_weights_are_those_of_large_vocabularies():
    values, numbers, spare = 1_000_000, 13, 1 + 26  # id 0, and an id out of vocabulary a field
    weights = (values + spare + numbers) * 17 + 1  # a vector of 16, a weight; the bias
    assert SCRIPT["weights"]("FM").startswith(f"**{weights:,} weights**: 17 for each of 1,000,000")


def test_a_picture_names_each_layer_once():
    inputs = keras.Input((4,), name="given")
    shared = keras.layers.Dense(3, name="shared")(inputs)
    crossed = CrossLayer(name="crossed")(shared, keras.layers.Dropout(0.5)(shared))
    ends = keras.layers.Concatenate()([crossed, shared])
    score = keras.layers.Activation("sigmoid", name="score")(ends)
    assert SCRIPT["drawn"](keras.Model(inputs, score)).splitlines() == [
        "score: Activation sigmoid -> 6",
        "└── Concatenate -> 6",
        "    ├── crossed: CrossLayer -> 3",
        "    │   └── shared: Dense(given) -> 3",
        "    └── shared",
    ]
