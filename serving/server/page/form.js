// What is typed: the form, the request body it makes, and what its buttons do.

const INTEGERS = /^DT_U?INT\d+$/;
const FLOATS = ["DT_FLOAT", "DT_DOUBLE"];
const MOST_FILLED = 1000; // values that are typed for the user
const INTEGER = /^-?\d+$/;
const NUMBER = /^(-?\d+(\.\d+)?([eE][-+]?\d+)?|NaN|-?Infinity)$/;
const naturally = new Intl.Collator("en", { numeric: true }); // C9 before C10

function inputs(signature) {
  return Object.keys(own(state.signatures, signature)?.inputs ?? {}).sort(naturally.compare);
}

function chooseSignature() {
  const sample = own(SAMPLES, state.model) ?? {};
  const names = inputs(state.signature);
  const unsendable = names.filter((name) => kind(name) === "none");
  const first = names.map((name) => [name, own(sample, name) ?? firstValue(name)]);
  state.rows = first.length && !unsendable.length ? [Object.fromEntries(first)] : [];
  const explained = inputs("explain").join() === inputs(state.signature).join();
  $("explain").hidden = !explained || state.signature === "explain";
  $("hint").textContent = hint(unsendable);
  showRows();
  for (const button of $("form").querySelectorAll(".buttons button")) {
    button.disabled = !state.rows.length;
  }
}

function hint(unsendable) {
  if (unsendable.length) {
    const types = unsendable.map((name) => `${name} (${typeName(name)})`).join(", ");
    return `Inputs of these types have no form in JSON, but gRPC takes them: ${types}`;
  }
  if (state.signature !== "rank") return "";
  return "A row is a candidate for the one user. What is empty in a further row is as in row 1.";
}

// ---- Inputs: what may be typed, and how it is written as JSON

function described(name) {
  return own(own(state.signatures, state.signature).inputs, name);
}

function typeName(name) {
  return described(name).dtype.slice(3).toLowerCase();
}

// What a single value is: a string, bool, integer or number, or none that JSON has.
function valueKind(name) {
  const { dtype } = described(name);
  if (dtype === "DT_STRING") return "string";
  if (dtype === "DT_BOOL") return "bool";
  if (INTEGERS.test(dtype)) return "integer";
  return FLOATS.includes(dtype) ? "number" : "none";
}

function kind(name) {
  const { tensor_shape: shape } = described(name);
  const isNested = shape.unknown_rank || shape.dim.length > 1;
  if (!isNested || state.signature === "rank") return valueKind(name); // of rank: columns of values
  return valueKind(name) === "none" ? "none" : "json";
}

function firstValue(name) {
  const value = { string: "", bool: false }[valueKind(name)] ?? 0;
  if (kind(name) !== "json") return String(value);
  const { dim, unknown_rank: unknown } = described(name).tensor_shape;
  const sizes = dim.slice(1).map(({ size }) => Math.max(1, Number(size))); // -1: any
  const count = sizes.reduce((product, size) => product * size, 1);
  return unknown || count > MOST_FILLED ? "[]" : JSON.stringify(filled(value, sizes));
}

// Nested lists of a value, by a row's shape.
function filled(value, [size, ...inner]) {
  if (size === undefined) return value;
  return Array.from({ length: size }, () => filled(value, inner));
}

// What is wrong with a text; "" if nothing is.
function complaint(name, text) {
  switch (kind(name)) {
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
  $("body").value = state.rows.length ? requestBody(state.signature) : "";
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
    const small = element("small", { textContent: ` ${typeName(name)}` });
    return element("label", {}, name, small, control(row, name, number));
  });
  return element("fieldset", {}, legend, element("div", { className: "row" }, ...labels));
}

function control(row, name, number) {
  const made = element(kind(name) === "bool" ? "select" : "input");
  if (kind(name) === "bool") options(made, [["false", "false"], ["true", "true"]], row[name]);
  if (kind(name) === "integer") made.inputMode = "numeric";
  if (kind(name) === "number") made.inputMode = "decimal";
  made.dataset.input = name; // a `name` could hide properties of the form
  made.autocomplete = "off";
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
    && names.every((name) => Object.hasOwn(row, name) && !row[name]?.b64);
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
