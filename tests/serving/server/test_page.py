"""The page at `/`: what is in it, and, clicked in a real browser, what it does."""

import base64
import hashlib
import html
import json
import re
import shutil

import numpy as np
import pytest

from ctr_keras.explain import Explainer
from serving.server.page import _script
from serving.server.server import Server
from tests.conftest import unavailable
from tests.models import variants
from tests.serving import toy_models
from tests.serving.toy_models import call

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium-headless-shell", "chromium", "google-chrome"])), None
)
pytestmark = pytest.mark.slow  # a model is exported, and a browser started
EVIL = "<img src=x onerror=document.title='evil'>"  # has no slash, so it can name a folder
MODELS = sorted([EVIL, "__proto__", "broken", "ctr", "toy"])


@pytest.fixture(scope="module")
def site(autoint, tmp_path_factory):
    """A server with an exported AutoInt, a toy with all types, an evil name, a broken version."""
    models = tmp_path_factory.mktemp("page")
    toy_models.save_toy(str(models / "toy" / "7"))
    toy_models.save_times(str(models / EVIL / "3"), 3)
    toy_models.save_with_inputs(str(models / "__proto__" / "1"), "__proto__", "querySelectorAll")
    toy_models.save_broken(str(models / "broken" / "1"))
    shutil.copytree(autoint.version, models / "ctr" / "1")
    with Server(models, rest_api_port=0, port=0, file_system_poll_wait_seconds=3600) as running:
        yield running


def test_policy_allows_the_inline_script_and_style_and_nothing_else(site):
    status, headers, body = call(site, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    directives = dict(d.split(" ", 1) for d in headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "http" not in re.sub("<script>.*</script>", "", body.decode(), flags=re.DOTALL)


def test_names_and_samples_are_data_not_html(site):
    text = call(site, "/")[2].decode()
    assert EVIL not in text
    (attribute,) = re.findall('data-models="([^"]*)"', text)
    models = json.loads(html.unescape(attribute))
    assert list(models) == MODELS
    assert models["toy"] == {}
    assert set(models["ctr"]) == {"user", "age", "item", "price", "genres", "device", "history"}
    assert re.fullmatch("u[0-9]+", models["ctr"]["user"])
    float(models["ctr"]["price"])


@pytest.mark.parametrize("variant", ["AutoInt", "MIAN", "AutoFM"])
def test_page_knows_the_names_of_every_explaining_output(variant):
    (block,) = re.findall(r"NAMES_OF = \{(.*?)\}", _script(), re.DOTALL)
    known = dict(re.findall(r'(\w+): "(\w+)"', block))
    axes = Explainer(variants.build(variant), variants.FEATURES).axes
    assert axes
    assert axes.items() <= known.items()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        unavailable("BROWSER", "no Chromium; Debian: apt-get install chromium-headless-shell")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM)
        yield running
        running.close()


@pytest.fixture
def tab(browser, site):
    """The page, opened; it must not have complained or asked others at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    opened = context.new_page()
    complaints, requests = [], []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(f"http://{site.rest_address}/")
    opened.locator("#rows input").first.wait_for()
    yield opened
    context.close()
    # The browser itself notes answers of 400 and 404, which some tests ask for.
    assert [text for text in complaints if "Failed to load resource" not in text] == []
    own = (f"http://{site.rest_address}/", "data:")
    assert all(url.startswith(own) for url in requests)


def choose(tab, model, signature=None):
    tab.get_by_role("button", name=model, exact=True).click()
    tab.locator("#model", has_text=model).wait_for()
    tab.locator("#rows input").first.wait_for()
    if signature:
        tab.get_by_label("Signature").select_option(signature)


def fill(tab, **values):
    for name, value in values.items():
        tab.locator(f'[data-input="{name}"]').last.fill(value)


def scores(tab):
    """Texts of the answer's table, without its head and the numbers of rows."""
    tab.locator("#scores td").first.wait_for()
    return [row.locator("td").all_inner_texts() for row in tab.locator("#scores tr").all()[1:]]


def predict(tab):
    tab.get_by_role("button", name="Predict").click()
    return scores(tab)


def test_models_and_states_are_listed_and_names_stay_text(tab):
    listed = {
        item.locator("button").inner_text(): item for item in tab.locator("#models > li").all()
    }
    assert list(listed) == MODELS
    assert "7 AVAILABLE" in listed["toy"].inner_text()
    assert "1 END: Can't parse" in listed["broken"].inner_text()
    assert tab.title() == "Models"
    choose(tab, EVIL)
    fill(tab, x="5")
    assert predict(tab) == [["15"]]
    assert tab.title() == "Models"
    assert tab.locator("img").count() == 0


def test_rows_are_typed_scored_and_shown_as_a_command(tab, site):
    choose(tab, "toy", "mixed")
    fill(tab, s="it's <b>", f="1.5", i="9007199254740993")
    tab.get_by_role("button", name="Add a row").click()
    fill(tab, s="", f="NaN", i="-2")
    assert len(predict(tab)) == 2
    sent = json.loads(tab.locator("#body").input_value().replace("NaN", '"NaN"'))
    assert sent["instances"] == [
        {"s": "it's <b>", "f": 1.5, "i": 9007199254740993},
        {"s": "", "f": "NaN", "i": -2},
    ]
    curl = tab.locator("#curl").text_content()
    assert curl.endswith(f"'http://{site.rest_address}/v1/models/toy:predict'")
    assert r"it'\''s <b>" in curl
    tab.get_by_text("As a command").click()
    tab.get_by_role("button", name="Copy").click()
    tab.locator("#copied", has_text=re.compile("Copied|Selected")).wait_for()
    tab.get_by_role("button", name="Remove row 1").click()
    assert predict(tab) == [["NaN", "-2", ""]]


def test_what_cannot_be_sent_is_marked_before(tab):
    choose(tab, "toy", "mixed")
    fill(tab, i="1.5")
    tab.get_by_role("button", name="Predict").click()
    assert (
        tab.locator('[data-input="i"]').evaluate("input => input.validationMessage")
        == "A whole number"
    )
    assert not tab.locator("#answer").is_visible()
    tab.get_by_label("Signature").select_option("echo_complex64")
    tab.locator("#hint", has_text="no form in JSON, but gRPC takes them: x (complex64)").wait_for()
    assert tab.locator("#body").input_value() == ""
    assert tab.get_by_role("button", name="Predict").is_disabled()


def test_inputs_of_fixed_shape_are_filled_to_it(tab):
    choose(tab, "toy", "pairs")
    assert tab.locator('[data-input="x"]').input_value() == "[0,0]"
    assert predict(tab) == [["0"]]
    tab.get_by_label("Signature").select_option("echo_string")
    assert tab.locator('[data-input="x"]').input_value() == "[]"  # of unknown rank: any value


def test_names_that_javascript_has_are_names_like_others(tab):
    choose(tab, "__proto__")
    assert [box.input_value() for box in tab.locator("#rows input").all()] == ["0", "0"]
    fill(tab, __proto__="3", querySelectorAll="2")
    assert predict(tab) == [["7"]]
    tab.get_by_role("button", name="Add a row").click()
    assert predict(tab) == [["7"], ["7"]]


def test_errors_of_the_server_are_shown(tab):
    choose(tab, "toy", "total")
    tab.get_by_role("button", name="Predict").click()
    tab.locator("#error", has_text="has no shape information").wait_for()
    choose_broken = tab.get_by_role("button", name="broken", exact=True)
    choose_broken.click()
    tab.locator("#error", has_text="Servable not found for request: Latest(broken)").wait_for()
    assert tab.get_by_role("button", name="Predict").is_disabled()


def test_a_pasted_body_fills_the_form_or_is_sent_as_it_stands(tab):
    choose(tab, "toy")
    tab.get_by_text("Request body").click()
    body = tab.locator("#body")
    body.fill('{"instances": [{"x": 4}, {"x": NaN}, {"x": 6.5}]}')
    assert [box.input_value() for box in tab.locator("#rows input").all()] == ["4", "NaN", "6.5"]
    assert predict(tab) == [["4"], ["NaN"], ["5.25"]]
    body.fill('{"inputs": [2, 4]}')
    assert tab.locator("#rows input").first.is_disabled()
    assert tab.get_by_role("button", name="Add a row").is_disabled()
    assert predict(tab) == [["3"], ["4"]]
    tab.get_by_role("button", name="Back to the form").click()
    assert tab.locator("#rows input").first.is_enabled()
    assert '"x": 4}' in body.input_value()


def test_rank_sends_the_users_side_once(tab):
    choose(tab, "ctr", "rank")
    columns = json.loads(tab.locator("#body").input_value().replace("NaN", "0"))["inputs"]
    tab.get_by_role("button", name="Add a row").click()
    fill(tab, item="i3", price="7")
    first, second = predict(tab)
    sent = json.loads(tab.locator("#body").input_value().replace("NaN", "0"))["inputs"]
    assert sent == {**columns, "item": [*columns["item"], "i3"], "price": [*columns["price"], 7]}
    assert first != second


def test_form_of_the_model_before_cannot_be_sent_to_the_chosen_one(tab):
    tab.route("**/ctr/metadata", lambda route: None)  # answers never
    tab.get_by_role("button", name="ctr", exact=True).click()
    assert tab.locator("#model").inner_text() == "ctr"
    assert tab.locator("#rows input").count() == 0
    assert tab.locator("#body").input_value() == ""
    assert tab.get_by_role("button", name="Predict").is_disabled()


def test_samples_are_scored_and_explained_as_a_heat_map(tab, site):
    choose(tab, "ctr")
    row = json.loads(tab.locator("#body").input_value().replace("NaN", "0"))["instances"][0]
    assert re.fullmatch("u[0-9]+", row["user"])
    (score,) = predict(tab)
    tab.get_by_role("button", name="Explain").click()
    table = tab.locator(".map")
    table.wait_for()
    assert scores(tab) == [score]
    response = json.loads(tab.locator("#response").text_content())["predictions"][0]
    fields, attention = response["fields"], np.array(response["attention"])
    assert table.locator("thead th").all_inner_texts() == fields
    assert table.locator("tbody th").all_inner_texts() == fields

    def colors():
        return table.locator("tbody td").evaluate_all(
            "cells => cells.map((cell) => cell.style.backgroundColor)"
        )

    def check_colors(weights):
        shown = colors()
        away = weights - 1 / len(fields)
        end = "rgb(165, 0, 38)" if away.flat[abs(away).argmax()] > 0 else "rgb(49, 54, 149)"
        assert shown[abs(away).argmax()] == end
        assert len(set(shown)) > len(fields)
        return shown

    means = check_colors(attention[0].mean(axis=0))
    tab.get_by_label("Layer").select_option("layer 1")
    tab.get_by_label("Head").select_option("head 1")
    assert check_colors(attention[1, 1]) != means

    table.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):  # the first key enters the map
        tab.keyboard.press(key)
    said = tab.locator(".readout").inner_text()
    assert said == f"{fields[1]} → {fields[1]}: {attention[1, 1, 1, 1]:.3g}"


def test_page_fits_a_phone(browser, site):
    context = browser.new_context(viewport={"width": 360, "height": 740})
    narrow = context.new_page()
    narrow.goto(f"http://{site.rest_address}/")
    choose(narrow, "ctr")
    narrow.get_by_role("button", name="Explain").click()
    narrow.locator(".map").wait_for()
    assert narrow.evaluate("document.documentElement.scrollWidth") == 360
    context.close()
