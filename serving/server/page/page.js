"use strict";

// Everything a model says ends up in text nodes and attributes, never in HTML.

const SAMPLES = JSON.parse(document.body.dataset.models); // model -> {input: text}
const REFRESH_MS = 5000;
const INTEGERS = /^DT_U?INT\d+$/;
const FLOATS = ["DT_FLOAT", "DT_DOUBLE"];
const INTEGER = /^-?\d+$/;
const NUMBER = /^(-?\d+(\.\d+)?([eE][-+]?\d+)?|NaN|-?Infinity)$/;

// Names along the last axis of explaining outputs are outputs themselves.
const NAMES_OF = {
  attention: "fields",
  gated_terms: "interactions",
  attention_behaviors: "behaviors",
  attention_user: "user_fields",
  attention_context: "context_fields",
  attention_global: "parts",
};
const MOST_BARS = 40;
const naturally = new Intl.Collator("en", { numeric: true }); // C9 before C10
const MAP_HELP = "Each row attends to the columns. Point at a cell, or use the arrow keys.";
const VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58",
  "b5de2b", "fde725"];

const $ = (id) => document.getElementById(id);

const state = {
  versions: {}, // model -> its versions' states
  model: null,
  version: "", // "" is the newest
  signatures: {},
  signature: "",
  rows: [], // {input: text}
};

// ---- Elements

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  select.value = chosen;
}

// ---- The REST API

function modelPath(name, version = "") {
  return `/v1/models/${encodeURIComponent(name)}${version && `/versions/${version}`}`;
}

async function call(path, body) {
  let text;
  try {
    const response = await fetch(path, body === undefined ? {} : { method: "POST", body });
    text = await response.text();
    if (response.ok) return { text, value: parse(text) };
  } catch (error) {
    throw new Error(`No answer from the server: ${error.message}`);
  }
  let message = text || "an error without a message";
  try {
    message = JSON.parse(text).error;
  } catch { /* no JSON: shown as it is */ }
  throw Object.assign(new Error(message), { text });
}

// The server writes NaN and Infinity as bare words, which strict JSON does not know.
function parse(text) {
  const strings = /("(?:[^"\\]|\\.)*")|(-?\b(?:NaN|Infinity)\b)/g;
  return JSON.parse(text.replace(strings, (all, string) => string ?? `"${all}"`));
}

// ---- Models and their versions

function showModels() {
  const names = Object.keys(SAMPLES);
  $("no-models").hidden = names.length > 0;
  for (const name of names) {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => chooseModel(name));
    const versions = element("ul", { className: "versions" });
    const item = element("li", {}, button, versions);
    item.dataset.model = name;
    state.versions[name] = [];
    $("models").append(item);
  }
}

async function refreshStates() {
  if (document.hidden) return;
  for (const item of $("models").children) {
    const name = item.dataset.model;
    state.versions[name] = await versionStates(name);
    item.querySelector(".versions").replaceChildren(...state.versions[name].map(versionLine));
    if (name === state.model) offerVersions();
  }
}

async function versionStates(name) {
  try {
    return (await call(modelPath(name))).value.model_version_status;
  } catch (error) {
    return [{ version: "", state: error.message, status: { error_code: "OK" } }];
  }
}

function versionLine({ version, state: now, status }) {
  const sign = { AVAILABLE: "●", LOADING: "◐", START: "◐", UNLOADING: "◑" }[now] ?? "○";
  const failed = status.error_code !== "OK";
  const line = element("li", { textContent: `${failed ? "✕" : sign} ${version} ${now}` });
  if (failed) {
    line.className = "failed";
    line.append(`: ${status.error_message}`);
  }
  return line;
}

function available(name) {
  return state.versions[name].filter((v) => v.state === "AVAILABLE").map((v) => v.version);
}

function offerVersions() {
  const offered = [...new Set([...available(state.model), state.version])].filter(Boolean);
  const entries = [["", "newest"], ...offered.map((version) => [version, version])];
  options($("version"), entries, state.version);
}

function chooseModel(name) {
  state.model = name;
  state.version = "";
  state.signature = "serving_default";
  $("model").textContent = name;
  for (const item of $("models").children) {
    const button = item.querySelector("button");
    if (item.dataset.model === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  $("ask").hidden = false;
  $("answer").hidden = true;
  offerVersions();
  loadSignatures();
}

async function loadSignatures() {
  const { model, version } = state;
  try {
    const { value } = await call(`${modelPath(model, version)}/metadata`);
    if (model !== state.model || version !== state.version) return; // chosen in the meantime
    state.signatures = value.metadata.signature_def.signature_def;
  } catch (error) {
    state.signatures = {};
    showError(error);
  }
  // REST cannot ask signatures without inputs.
  const usable = Object.keys(state.signatures).filter((s) => inputs(s).length).sort();
  if (!usable.includes(state.signature)) [state.signature = ""] = usable;
  options($("signature"), usable.map((name) => [name, name]), state.signature);
  chooseSignature();
}

function inputs(signature) {
  return Object.keys(state.signatures[signature]?.inputs ?? {}).sort(naturally.compare);
}

function chooseSignature() {
  const sample = SAMPLES[state.model] ?? {};
  const first = inputs(state.signature).map((name) => [name, sample[name] ?? firstValue(name)]);
  state.rows = state.signature ? [Object.fromEntries(first)] : [];
  const explained = inputs("explain").join() === inputs(state.signature).join();
  $("explain").hidden = !explained || state.signature === "explain";
  $("hint").textContent = state.signature === "rank"
    ? "A row is a candidate for the one user. What is empty in a further row is as in row 1."
    : "";
  showRows();
  for (const button of $("form").querySelectorAll(".buttons button")) {
    button.disabled = !state.signature;
  }
}

// ---- Inputs: what may be typed, and how it is written as JSON

function kind(name) {
  const { dtype, tensor_shape: shape } = state.signatures[state.signature].inputs[name];
  const isNested = shape.unknown_rank || shape.dim.length > 1;
  if (isNested && state.signature !== "rank") return "json"; // rank takes columns of values, too
  if (dtype === "DT_STRING") return "string";
  if (dtype === "DT_BOOL") return "bool";
  if (INTEGERS.test(dtype)) return "integer";
  return FLOATS.includes(dtype) ? "number" : "none";
}

function firstValue(name) {
  return { string: "", bool: "false", json: "[]", none: "" }[kind(name)] ?? "0";
}

// What is wrong with a text; "" if nothing is.
function complaint(name, text) {
  switch (kind(name)) {
    case "none":
      return "This type has no form in JSON; use gRPC";
    case "integer":
      return INTEGER.test(text.trim()) ? "" : "A whole number";
    case "number":
      return NUMBER.test(text.trim()) ? "" : "A number or NaN";
    case "json":
      try {
        parse(text);
        return "";
      } catch (error) {
        return `A value as JSON: ${error.message}`;
      }
    default:
      return "";
  }
}

function literal(name, text) {
  return kind(name) === "string" ? JSON.stringify(text) : text.trim();
}

function object(entries) {
  return `{${entries.map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(", ")}}`;
}

function requestBody(signature) {
  const names = inputs(signature);
  const head = `"signature_name": ${JSON.stringify(signature)}`;
  if (signature === "rank") return `{${head},\n "inputs": ${object(names.map(rankColumn))}}`;
  const rows = state.rows.map((row) => object(names.map((n) => [n, literal(n, row[n])])));
  return `{${head},\n "instances": [\n  ${rows.join(",\n  ")}]}`;
}

// A column of the user's side, empty in all rows but the first, has one value.
function rankColumn(name) {
  const [first, ...others] = state.rows.map((row) => row[name]);
  const used = others.some(Boolean) ? [first, ...others.map((text) => text || first)] : [first];
  return [name, `[${used.map((text) => literal(name, text)).join(", ")}]`];
}

// ---- The form

function showRows() {
  setApart(false);
  $("rows").replaceChildren(...state.rows.map(rowFields));
  writeBody();
}

// While the body is not what the form holds, only the body counts.
function setApart(apart) {
  for (const id of ["rows", "explain", "add"]) $(id).disabled = apart;
  $("apart").hidden = !apart;
}

function writeBody() {
  $("body").value = state.signature ? requestBody(state.signature) : "";
}

function rowFields(row, number) {
  const legend = element("legend", { textContent: `Row ${number + 1} ` });
  if (state.rows.length > 1) {
    const remove = element("button", { type: "button", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove row ${number + 1}`);
    remove.addEventListener("click", () => {
      state.rows.splice(number, 1);
      showRows();
    });
    legend.append(remove);
  }
  const labels = inputs(state.signature).map((name) => {
    const type = state.signatures[state.signature].inputs[name].dtype.slice(3).toLowerCase();
    const small = element("small", { textContent: ` ${type}` });
    return element("label", {}, name, small, control(row, name, number));
  });
  return element("fieldset", {}, legend, element("div", { className: "row" }, ...labels));
}

function control(row, name, number) {
  const made = element(kind(name) === "bool" ? "select" : "input");
  if (kind(name) === "bool") options(made, [["false", "false"], ["true", "true"]], row[name]);
  if (kind(name) === "integer") made.inputMode = "numeric";
  if (kind(name) === "number") made.inputMode = "decimal";
  made.name = name;
  made.autocomplete = "off";
  made.disabled = kind(name) === "none";
  made.value = row[name];
  const asFirst = state.signature === "rank" && number > 0;
  const check = () => {
    made.setCustomValidity(asFirst && !made.value ? "" : complaint(name, made.value));
  };
  made.addEventListener("input", () => {
    row[name] = made.value;
    check();
    writeBody();
  });
  check();
  return made;
}

function addRow() {
  const last = state.rows.at(-1);
  const empty = Object.fromEntries(Object.keys(last).map((name) => [name, ""]));
  state.rows.push(state.signature === "rank" ? empty : { ...last });
  showRows();
  $("rows").lastElementChild.querySelector("input, select")?.focus();
}

// Fills the form from the body that was typed or pasted, if it has room for all of it.
function readBody() {
  const rows = rowsOf($("body").value);
  setApart(!rows);
  if (!rows) return;
  state.rows = rows;
  $("rows").replaceChildren(...rows.map(rowFields));
}

function rowsOf(text) {
  let body;
  try {
    body = parse(text);
  } catch {
    return null;
  }
  const names = inputs(state.signature);
  const fitsRow = (row) => Object.keys(row ?? {}).length === names.length
    && names.every((name) => name in row && !row[name]?.b64);
  const fits = (body?.signature_name ?? "serving_default") === state.signature
    && Array.isArray(body.instances)
    && body.instances.length > 0
    && body.instances.every(fitsRow);
  if (!fits) return null;
  const typed = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return body.instances.map((row) => (
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typed(value)]))
  ));
}

// ---- Asking

async function ask(signature, body) {
  if (!$("rows").disabled && !$("form").reportValidity()) return;
  const path = `${modelPath(state.model, state.version)}:predict`;
  $("answer").hidden = false;
  clearAnswer();
  $("curl").textContent = command(path, body);
  $("copied").textContent = "";
  const started = performance.now();
  try {
    const { text, value } = await call(path, body);
    const elapsed = performance.now() - started;
    $("answer-title").textContent = `Answer of ${signature} in ${elapsed.toFixed(0)} ms`;
    $("response").textContent = text;
    showAnswer(answerRows(value, signature));
  } catch (error) {
    showError(error);
  }
}

function command(path, body) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  return `curl -d ${quoted(body)} \\\n  ${quoted(location.origin + path)}`;
}

function clearAnswer() {
  $("error").textContent = "";
  $("response").textContent = "";
  $("scores").replaceChildren();
  $("pictures").replaceChildren();
}

function showError(error) {
  $("answer").hidden = false;
  $("answer-title").textContent = "Answer";
  clearAnswer();
  $("error").textContent = error.message;
  $("response").textContent = error.text ?? "";
}

// Rows of {output: value}. The server leaves out the name of a single output.
function answerRows(answer, signature) {
  const names = Object.keys(state.signatures[signature]?.outputs ?? {});
  const named = (value) => (names.length === 1 ? { [names[0]]: value } : value);
  if (answer.predictions) return answer.predictions.map(named);
  const columns = Object.entries(named(answer.outputs));
  const length = Math.max(...columns.map(([, values]) => values.length ?? 1));
  return Array.from({ length }, (_, row) => Object.fromEntries(
    columns.map(([name, values]) => [name, Array.isArray(values) ? values[row] : values]),
  ));
}

function showAnswer(rows) {
  const explaining = new Set(Object.entries(NAMES_OF).flat());
  const isExplained = rows.some((row) => Object.keys(NAMES_OF).some((name) => name in row));
  const names = [...new Set(rows.flatMap(Object.keys))]
    .filter((name) => !isExplained || !explaining.has(name));
  const titles = ["row", ...names].map((textContent) => element("th", { textContent }));
  const lines = rows.map((row, number) => {
    const cells = names.map((name) => cell(row[name]));
    return element("tr", {}, element("th", { textContent: number + 1 }), ...cells);
  });
  $("scores").replaceChildren(element("table", {}, element("tr", {}, ...titles), ...lines));
  if (isExplained) showExplanations(rows);
}

function cell(value) {
  if (typeof value !== "object") return element("td", { textContent: value });
  const text = JSON.stringify(value);
  const textContent = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return element("td", { className: "wide", textContent });
}

// ---- Explanations

function showExplanations(rows) {
  const pictures = element("div");
  const show = (row) => pictures.replaceChildren(...explanation(row));
  if (rows.length > 1) {
    const entries = rows.map((_, number) => [number, `row ${number + 1}`]);
    $("pictures").append(chooser("Explanation of", entries, (number) => show(rows[number])));
  }
  $("pictures").append(pictures);
  show(rows[0]);
}

function chooser(title, entries, choose) {
  const select = element("select");
  options(select, entries, entries[0][0]);
  select.addEventListener("change", () => choose(select.value));
  return element("label", {}, `${title} `, select);
}

function explanation(row) {
  return Object.entries(NAMES_OF).filter(([output]) => output in row).flatMap(([output, axis]) => {
    const values = numbers(row[output]);
    const names = row[axis] ?? values.map((_, place) => String(place));
    const title = element("h3", { textContent: output.replaceAll("_", " ") });
    return [title, Array.isArray(values[0]) ? maps(values, names) : bars(values, names)];
  });
}

function numbers(value) {
  return Array.isArray(value) ? value.map(numbers) : Number(value); // "NaN", too
}

// Attention of every layer and head: one map at a time.
function maps(layers, names) {
  const shown = { layer: "0", head: "mean" };
  const place = element("div");
  const draw = () => {
    const heads = pick(layers, shown.layer);
    place.replaceChildren(...heatMap(pick(heads, shown.head), names));
  };
  const choices = (word, count) => {
    const entries = Array.from({ length: count }, (_, number) => [number, `${word} ${number}`]);
    const all = count > 1 ? [["mean", `mean of ${count} ${word}s`]] : [];
    return word === "head" ? [...all, ...entries] : [...entries, ...all];
  };
  const set = (word) => (value) => {
    shown[word] = value;
    draw();
  };
  shown.head = String(choices("head", layers[0].length)[0][0]);
  draw();
  const controls = element(
    "div",
    { className: "choices" },
    chooser("Layer", choices("layer", layers.length), set("layer")),
    chooser("Head", choices("head", layers[0].length), set("head")),
  );
  return element("div", {}, controls, place);
}

function pick(list, choice) {
  return choice === "mean" ? mean(list) : list[choice];
}

function mean(arrays) {
  if (!Array.isArray(arrays[0])) return arrays.reduce((sum, x) => sum + x, 0) / arrays.length;
  return arrays[0].map((_, place) => mean(arrays.map((array) => array[place])));
}

function heatMap(weights, names) {
  const most = Math.max(...weights.flat());
  const lines = weights.map((row, from) => {
    const cells = row.map((weight, to) => {
      const title = `${names[from]} → ${names[to]}: ${weight.toPrecision(3)}`;
      const made = element("td", { title });
      made.style.backgroundColor = viridis(weight / most);
      return made;
    });
    const name = element("th", { scope: "row", title: names[from], textContent: names[from] });
    return element("tr", {}, name, ...cells);
  });
  const heads = names.map((name) => (
    element("th", { scope: "col", title: name }, element("span", { textContent: name }))
  ));
  const table = element(
    "table",
    { className: "map", tabIndex: 0 },
    element("thead", {}, element("tr", {}, element("td"), ...heads)),
    element("tbody", {}, ...lines),
  );
  table.setAttribute("aria-label", "Attention of rows to columns");
  const readout = element("p", { className: "readout", textContent: MAP_HELP });
  readout.setAttribute("role", "status");
  readCells(table, readout);
  return [readout, element("div", { className: "scroll" }, table), scale(most)];
}

// Says what the cell under the pointer, or the one chosen with the arrow keys, is worth.
function readCells(table, readout) {
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  let [down, across] = [0, 0];
  const choose = (cell) => {
    table.querySelector(".chosen")?.classList.remove("chosen");
    cell.classList.add("chosen");
    readout.textContent = cell.title;
  };
  table.addEventListener("pointerover", ({ target }) => {
    if (target.matches("tbody td")) choose(target);
  });
  table.addEventListener("keydown", (event) => {
    if (!steps[event.key]) return;
    event.preventDefault();
    const limited = (place) => Math.max(0, Math.min(place, rows.length - 1));
    if (table.querySelector(".chosen")) {
      down = limited(down + steps[event.key][0]);
      across = limited(across + steps[event.key][1]);
    }
    choose(rows[down][across]);
    rows[down][across].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

function scale(most) {
  const strip = element("div");
  strip.style.background = `linear-gradient(to right, ${VIRIDIS.map((color) => `#${color}`)})`;
  const end = `${most.toPrecision(3)} attention weight`;
  return element("div", { className: "scale" }, "0", strip, end);
}

// The colours of `ctr-keras explain`, which differ in lightness: everyone can tell them apart.
function viridis(share) {
  const place = Math.max(0, Math.min(share || 0, 1)) * (VIRIDIS.length - 1);
  const [low, high] = [Math.floor(place), Math.ceil(place)].map((index) => (
    [0, 2, 4].map((start) => parseInt(VIRIDIS[index].slice(start, start + 2), 16))
  ));
  const mixed = low.map((value, i) => Math.round(value + (high[i] - value) * (place % 1)));
  return `rgb(${mixed})`;
}

// The largest values, with those below 0 to the left of the others.
function bars(values, names) {
  const places = values.map((_, place) => place);
  places.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const shown = places.slice(0, MOST_BARS);
  const least = Math.min(0, ...values);
  const span = Math.max(0, ...values) - least || 1;
  const lines = shown.flatMap((place) => {
    const value = values[place];
    const bar = element("i", { className: value < 0 ? "below" : "" });
    bar.style.left = `${(100 * (Math.min(value, 0) - least)) / span}%`;
    bar.style.width = `${(100 * Math.abs(value)) / span}%`;
    const number = element("span", { textContent: value.toPrecision(3) });
    const box = element("div", { className: "bar" }, bar);
    return [element("dt", { textContent: names[place] }), element("dd", {}, box, number)];
  });
  const list = element("dl", { className: "bars" }, ...lines);
  if (shown.length === values.length) return list;
  const rest = `The ${shown.length} largest of ${values.length}.`;
  return element("div", {}, list, element("p", { textContent: rest }));
}

// ---- Start

$("version").addEventListener("change", ({ target }) => {
  state.version = target.value;
  loadSignatures();
});
$("signature").addEventListener("change", ({ target }) => {
  state.signature = target.value;
  chooseSignature();
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(state.signature, $("body").value);
});
$("explain").addEventListener("click", () => ask("explain", requestBody("explain")));
$("add").addEventListener("click", addRow);
$("body").addEventListener("input", readBody);
$("back").addEventListener("click", showRows);
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copied").textContent = "Copied";
  } catch { // browsers allow it on this machine and over TLS only
    getSelection().selectAllChildren($("curl"));
    $("copied").textContent = "Selected: copy it with Ctrl+C";
  }
});

async function start() {
  showModels();
  await refreshStates();
  setInterval(refreshStates, REFRESH_MS);
  const names = Object.keys(SAMPLES);
  if (names.length) chooseModel(names.find((name) => available(name).length) ?? names[0]);
}

start();
