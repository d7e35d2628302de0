"use strict";

// What is asked of the server: models, the states of their versions, signatures.
// This file is the first of the page's one script, then come drawing.js and form.js.

const SAMPLES = JSON.parse(document.body.dataset.models); // model -> {input: text}
const REFRESH_MS = 5000;

// What models name goes into maps, or is asked for with `own`: they may be called `__proto__`.
const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);

const state = {
  versions: new Map(), // model -> its versions' states
  model: null,
  version: "", // "" is the newest
  signatures: {},
  signature: "",
  rows: [], // {input: text}
};

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
    state.versions.set(name, []);
    $("models").append(item);
  }
}

async function refreshStates() {
  if (document.hidden) return;
  for (const item of $("models").children) {
    const name = item.dataset.model;
    const versions = await versionStates(name);
    state.versions.set(name, versions);
    item.querySelector(".versions").replaceChildren(...versions.map(versionLine));
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
  return state.versions.get(name).filter((v) => v.state === "AVAILABLE").map((v) => v.version);
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
  state.signatures = {};
  chooseSignature(); // until these are known: what stands in the form is for another model
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
