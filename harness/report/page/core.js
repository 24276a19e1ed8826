// Data, elements, and numbers as people read them. Foreign text is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const boundaries = Object.keys(data.boundaries);
const rows = data.rows.map((cells, index) => ({
  index, ...Object.fromEntries(data.columns.map((name, place) => [name, cells[place]])),
}));
const own = rows.filter((row) => row.mark !== "study");
const ranked = own.filter((row) => row.left_out === null);
const studyOnly = ranked.length === 0; // then the study is no backdrop but what the page is about
const behind = (row) => row.mark === "study" && !studyOnly;
const state = {
  task: null, gpu: "", machine: "", dtype: "", mark: "", text: "", boundary: "gpu", way: 0,
  study: false, sort: "energy", descending: false, page: 0,
};

function element(namespace, tag, attributes, children) {
  const made = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}
const h = (tag, attributes, ...children) => element(null, tag, attributes, children);
const svg = (tag, attributes, ...children) => element("http://www.w3.org/2000/svg", tag, attributes, children);
const at = (id) => document.getElementById(id);
const fill = (id, ...children) => at(id).replaceChildren(...children.flat(9).filter(Boolean));
const several = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const distinct = (values) => [...new Set(values)];

// A number with three significant digits, without exponent between 1e-4 and 1e6.
function significant(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  if (size <= -5 || size >= 6) return powerOfTen(value, digits - 1);
  const places = Math.max(0, digits - 1 - size);
  return minus(Number(value.toPrecision(digits)).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
}
const minus = (text) => text.replace(/^-/, "−");
function powerOfTen(value, places) {
  const [mantissa, exponent] = value.toExponential(places).split("e");
  const raised = [...exponent.replace("+", "")].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("");
  return `${minus(mantissa)}\u00a0×\u00a010${raised}`;
}
// A number of parameters as people say it: 124M, 1.37B.
function sizeText(count) {
  const [scale, unit] = count >= 999.5e6 ? [1e9, "B"] : count >= 1e6 ? [1e6, "M"] : count >= 1e3 ? [1e3, "k"] : [1, ""];
  return `${Number((count / scale).toPrecision(3))}${unit}`;
}
// Value and half-width, both to the second significant digit of the half-width.
function plusMinus(value, low, high) {
  if (low === null || high === null) return significant(value);
  const half = (high - low) / 2;
  if (!(half > 0)) return significant(value);
  const places = 1 - Math.floor(Math.log10(Number(half.toPrecision(2))));
  if (places > 7 || Math.abs(value) >= 1e6) return `${significant(value)}\u00a0±\u00a0${significant(half, 2)}`;
  const shown = (number) => {
    const step = 10 ** -places;
    return (places < 0 ? Math.round(number / step) * step : number)
      .toLocaleString("en", { minimumFractionDigits: Math.max(0, places), maximumFractionDigits: Math.max(0, places) });
  };
  return `${minus(shown(value))}\u00a0±\u00a0${shown(half)}`;
}
function mass(grams) {
  for (const [size, unit] of [[1e9, "kt"], [1e6, "t"], [1e3, "kg"], [1, "g"], [1e-3, "mg"]]) {
    if (Math.abs(grams) >= size) return `${significant(grams / size)} ${unit}`;
  }
  return `${significant(grams)} g`;
}
function duration(seconds) {
  return seconds < 1 ? `${significant(seconds * 1000)} ms` : `${significant(seconds)} s`;
}
// The energy of a row under the boundary that is chosen: [kWh per 1,000, low, high], or null.
const energyAt = (row, boundary) => row.energies[boundaries.indexOf(boundary)];
const energyOf = (row) => energyAt(row, state.boundary);
const starsOf = (row) => row.stars[boundaries.indexOf(state.boundary)][state.way];
const placed = (row) => row.left_out === null && energyOf(row) !== null && energyOf(row)[0] > 0;
const perKwh = {};
for (const step of data.recipe) {
  const of = step.of === "energy_kwh" ? 1 : perKwh[step.of];
  const used = step.kind && data.used[step.kind].value * data.used[step.kind].scale;
  perKwh[step.name] = step.times ? of * step.times : step.name === "carbon_g_co2e" ? of * used : of / used;
}
// What stands between a row and the task, board and words that are asked for; the task is left to the caller.
function asked(row) {
  const words = state.text.toLowerCase();
  return (row.mark === "study" ? state.study : true)
    && (!state.gpu || row.gpu === state.gpu) && (!state.machine || row.boundary === state.machine)
    && (!state.dtype || row.dtype === state.dtype) && (!state.mark || (row.mark || "measured") === state.mark)
    && (!words || `${row.model} ${row.campaign} ${row.run_id}`.toLowerCase().includes(words));
}
const inTask = (row) => state.task === null || row.task === state.task;
// Rows that may be set side by side, as `peers` of report/ranking, and in what rows that are not differ.
const PEERS = { task: "task", gpu: "GPU", boundary: "number of GPUs", mark: "origin", work: "length of answer", prompts: "prompts" };
const peers = (row) => JSON.stringify(Object.keys(PEERS).map((name) => row[name] ?? ""));
const mixed = (found) => Object.keys(PEERS).filter((name) => distinct(found.map((row) => row[name] ?? "")).length > 1);
function groupsOf(found) {
  const groups = new Map();
  for (const row of found) groups.set(peers(row), [...(groups.get(peers(row)) ?? []), row]);
  return [...groups.values()].sort((a, b) => b.length - a.length);
}
const badge = (row) => h("span", { class: `badge ${row.mark ? "other" : "measured"}` }, row.mark || "measured");
// A run's section is named by its run id, and by its campaign as well where that is not enough: a link outlives a new page.
const named = {};
for (const row of rows) named[row.run_id] = (named[row.run_id] ?? 0) + 1;
const anchor = (row) => `run-${named[row.run_id] > 1 ? `${row.campaign}/` : ""}${row.run_id}`;
const runLink = (row, words) => data.details[row.index] ? h("a", { href: `#${encodeURIComponent(anchor(row))}` }, words ?? row.model)
  : row.mark === "study" ? h("a", { href: data.paper_url, rel: "noopener noreferrer", title: `The study: ${data.paper}` }, words ?? row.model)
    : h("span", {}, words ?? row.model);
