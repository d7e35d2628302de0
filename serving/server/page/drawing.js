// What is drawn: elements, answers and their explanations.
// Everything a model says ends up in text nodes and attributes, never in HTML.

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
const MAP_HELP = "Each row attends to the columns. Point at a cell, or use the arrow keys.";
// From below to above, which colour-blind readers can tell apart: RdYlBu_r of `ctr-keras explain`.
const COLORS = ["313695", "4575b4", "74add1", "abd9e9", "e0f3f8", "ffffbf", "fee090", "fdae61",
  "f46d43", "d73027", "a50026"];

const $ = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  select.value = chosen;
}

// ---- Answers

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
  const names = Object.keys(own(state.signatures, signature)?.outputs ?? {});
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
  const even = 1 / names.length; // what each weighs where attention makes no difference
  const reach = reachAround(even, weights.flat());
  const lines = weights.map((row, from) => {
    const cells = row.map((weight, to) => {
      const title = `${names[from]} → ${names[to]}: ${weight.toPrecision(3)}`;
      const made = element("td", { title });
      made.style.backgroundColor = color((weight - even) / reach);
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
  return [readout, element("div", { className: "scroll" }, table), scale(even, reach)];
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

// How far weights lie from an even one; what is within a hundredth of it looks even.
function reachAround(even, weights) {
  return Math.max(even / 100, ...weights.map((weight) => Math.abs(weight - even)));
}

function scale(even, reach) {
  const low = Math.max(0, even - reach); // weights are not negative
  const places = COLORS.map((_, place) => low + (place / 10) * (even + reach - low));
  const strip = element("div");
  strip.style.background = `linear-gradient(to right, ${
    places.map((weight) => color((weight - even) / reach))})`;
  const end = `${(even + reach).toPrecision(3)} attention weight; ${even.toPrecision(3)} if even`;
  return element("div", { className: "scale" }, low.toPrecision(3), strip, end);
}

// From -1, the deepest blue, over 0, pale yellow, to 1, the deepest red.
function color(share) {
  const place = ((Math.max(-1, Math.min(share || 0, 1)) + 1) / 2) * (COLORS.length - 1);
  const [low, high] = [Math.floor(place), Math.ceil(place)].map((index) => (
    [0, 2, 4].map((start) => parseInt(COLORS[index].slice(start, start + 2), 16))
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
