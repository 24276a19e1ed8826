// The ranking: filters, sorting, pages of rows, what to doubt beside each number.
const PAGE_ROWS = 50;
// How a run ran: told once where all rows share it, else beside each.
const ABOUT = {
  load: (row) => row.load, dtype: (row) => row.dtype, gpu: (row) => row.gpu, boundary: (row) => row.boundary, task: (row) => readable(row.task), work: (row) => row.work || null,
  prompts: (row) => (row.prompts === "builtin" ? null : row.prompts), weights: (row) => (row.weights === "random" ? "random weights" : null),
};
const SORTS = {
  model: (row) => row.model.toLowerCase(), energy: (row) => energyOf(row)[0], unit: (row) => row.j_per_unit,
  carbon: (row) => energyOf(row)[0], phone: (row) => energyOf(row)[0], km: (row) => energyOf(row)[0],
  gpu: (row) => row.gpu, boundary: (row) => row.boundary, dtype: (row) => row.dtype,
  latency: (row) => row.latency_s, parameters: (row) => row.parameters, stars: (row) => starsOf(row) && -Number(starsOf(row)[0]),
};
const HEADS = [
  ["model", "model and how it ran"], ["energy", "kWh per 1,000, 95 % interval"], ["unit", "J per token or image"],
  ["carbon", "CO2e"], ["phone", "phone charges"], ["km", "km by car"], ["latency", "latency"],
  ["parameters", "size, parameters"], ["stars", "stars"],
];

const MORE_SORTS = { gpu: "GPU", boundary: "GPUs at work", dtype: "number format" }; // told under the name, without a column
const bands = new Map(data.bands.map((band) => [JSON.stringify([band.boundary, band.way, band.task, band.gpu, band.boards, band.mark, band.work, band.prompts]), band]));
const bandOfRow = (row) => bands.get(JSON.stringify([state.boundary, data.ways[state.way], ...JSON.parse(peers(row))]));

function sorted(found) {
  const of = SORTS[state.sort], turn = state.descending ? -1 : 1;
  return [...found].sort((a, b) => {
    const one = of(a), two = of(b);
    if (one === null || one === undefined) return two === null || two === undefined ? 0 : 1; // what is missing stands last
    if (two === null || two === undefined) return -1;
    return (one < two ? -1 : one > two ? 1 : 0) * turn;
  });
}
function drawRanking() {
  const found = sorted(rows.filter((row) => placed(row) && asked(row) && inTask(row)));
  const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE_ROWS, shown = found.slice(first, first + PAGE_ROWS);
  const largest = {}, units = found.some((row) => row.j_per_unit !== null);
  for (const row of found) largest[row.task] = Math.max(largest[row.task] ?? 0, energyOf(row)[2] ?? energyOf(row)[0]);
  const none = rows.filter((row) => asked(row) && inTask(row) && row.left_out === null && energyOf(row) === null).length;
  fill("count", found.length === 0 ? "No run fits these filters. "
    : `${several(found.length, "row")}${found.length > shown.length ? `, of which ${first + 1} to ${first + shown.length} are shown` : ""}. `,
    none > 0 && `${several(none, "row")} without this boundary: not measured there.`);
  const varying = Object.keys(ABOUT).filter((key) => distinct(found.map(ABOUT[key])).length > 1);
  const shared = found.length ? Object.keys(ABOUT).filter((key) => !varying.includes(key)).map((key) => ABOUT[key](found[0])).filter(Boolean) : [];
  if (MORE_SORTS[state.sort] && !varying.includes(state.sort)) state.sort = "energy";
  const apart = mixed(found), more = Object.keys(MORE_SORTS).filter((key) => varying.includes(key));
  fill("table", more.length > 0 && h("p", { class: "sorts" }, "Sort also by ", more.map((key) => h("button", { type: "button", "data-sort": key, "aria-pressed": String(state.sort === key), onclick: () => sortBy(key) }, MORE_SORTS[key], arrow(key)))),
  found.length > 0 && h("table", { class: "ranking", role: "table" },
    h("caption", {}, `Energy of ${data.boundaries[state.boundary]}, per 1,000 generations${shared.length ? `; all of them ${shared.join(", ")}` : ""}. CO2e, charges and km are of this energy alone${varying.includes("task") ? "; each bar is drawn against the most of its own task" : ""}.`),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, HEADS.filter(([key]) => key !== "unit" || units).map(([key, words]) => head(key, words)))),
    h("tbody", { role: "rowgroup" }, shown.map((row) => line(row, largest[row.task], varying, units, apart)))));
  drawPages(pages);
  drawLegend(found);
}
function head(key, words) {
  const active = state.sort === key;
  return h("th", { scope: "col", role: "columnheader", "aria-sort": active ? (state.descending ? "descending" : "ascending") : "none", class: key },
    h("button", { type: "button", "data-sort": key, onclick: () => sortBy(key) }, words, arrow(key)));
}
const arrow = (key) => h("span", { class: "arrow", "aria-hidden": "true" }, state.sort !== key ? "" : state.descending ? " ↓" : " ↑");
function sortBy(key) {
  state.descending = state.sort === key && !state.descending;
  state.sort = key; state.page = 0;
  drawRanking();
  document.querySelector(`button[data-sort=${key}]`).focus();
}
function line(row, largest, varying, units, apart) {
  const [kwh, low, high] = energyOf(row);
  const cell = (key, label, ...content) => h("td", { role: "cell", class: key, "data-label": label }, content);
  const about = varying.map((key) => ABOUT[key](row));
  const size = row.j_per_unit === null ? "–" : [plusMinus(row.j_per_unit, row.j_per_unit_low, row.j_per_unit_high), h("small", {}, ` /${row.unit}`)];
  return h("tr", { role: "row", class: behind(row) ? "study" : "" },
    h("th", { scope: "row", role: "rowheader" }, runLink(row), " ", badge(row), h("small", { class: "about" }, about.filter(Boolean).join(" · "))),
    cell("energy", "kWh per 1,000", h("span", { class: "value" }, plusMinus(kwh, low, high)), low === null && h("small", {}, " no interval known"), chips(row), bar(kwh, low, high, largest)),
    units && cell("unit", "per token or image", h("span", {}, size)),
    cell("carbon", "CO2e per 1,000", mass(kwh * perKwh.carbon_g_co2e)),
    cell("phone", "phone charges", significant(kwh * perKwh.phone_charges)),
    cell("km", "km by car", significant(kwh * perKwh.car_km)),
    cell("latency", "latency", row.latency_s === null ? "–" : duration(row.latency_s)),
    cell("parameters", "parameters", row.parameters === null ? "–" : sizeText(row.parameters)),
    cell("stars", "stars", h("span", {}, drawnStars(starsOf(row)), starsOf(row) && apart.length > 0 && h("small", { class: "among" }, `among ${among(row, apart)}`))));
}
// Whom a row's stars compare it with, where the table mixes several groups.
function among(row, apart) {
  const told = apart.map((name) => (name === "task" ? readable(row.task) : name === "mark" ? row.mark || "measured" : row[name] ?? "")).filter(Boolean);
  return [several(bandOfRow(row).models, "model"), ...told].join(", ");
}
// Some caveats weaken the numbers under some boundaries only.
const caveatsOf = (row) => row.caveats.filter((code) => (data.only_under[code] ?? boundaries).includes(state.boundary));
const chips = (row) => caveatsOf(row).length > 0 && h("span", { class: "chips" },
  caveatsOf(row).map((code) => h("span", { class: "chip", title: data.caveats[code] }, code)));
function bar(kwh, low, high, largest) {
  const made = h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: "full" }));
  made.firstChild.style.width = `${(100 * kwh) / largest}%`;
  if (low !== null) {
    const span = h("span", { class: "span" });
    span.style.left = `${(100 * Math.max(0, low)) / largest}%`;
    span.style.width = `${(100 * (high - Math.max(0, low))) / largest}%`;
    made.append(span);
  }
  return made;
}
function drawnStars(code) {
  if (code === null) return h("span", { title: "Nothing beside it to be rated with: one model, or a board of its own." }, "–");
  const [stars, fewest, most] = [...code].map(Number);
  const open = fewest < most ? ` (${fewest}–${most})` : "";
  return h("span", { class: "rated" }, h("span", { "aria-hidden": "true" }, "★".repeat(stars), h("span", { class: "empty" }, "☆".repeat(5 - stars)), open),
    h("span", { class: "unseen" }, `${stars} of 5 stars${open && `; its interval leaves ${fewest} to ${most} open`}`));
}
function drawPages(pages) {
  const turn = (by) => () => {
    state.page += by;
    drawRanking();
    at("count").scrollIntoView({ block: "nearest" });
    const again = [...at("pages").querySelectorAll("button")]; // drawn anew: the keyboard stays where it was
    (again[by > 0 ? 1 : 0].disabled ? again[by > 0 ? 0 : 1] : again[by > 0 ? 1 : 0]).focus({ preventScroll: true });
  };
  fill("pages", pages > 1 && [
    h("button", { type: "button", disabled: state.page === 0, onclick: turn(-1) }, "Previous"),
    h("span", {}, `Page ${state.page + 1} of ${pages}`),
    h("button", { type: "button", disabled: state.page === pages - 1, onclick: turn(1) }, "Next")]);
}
function drawLegend(found) {
  const codes = distinct(found.flatMap(caveatsOf));
  const marks = distinct(found.map((row) => row.mark));
  fill("legend", h("dl", { class: "legend" },
    codes.map((code) => [h("dt", {}, h("span", { class: "chip" }, code)), h("dd", {}, several(found.filter((row) => row.caveats.includes(code)).length, "row"), ", e.g.: ", data.caveats[code] ?? "")]),
    marks.some((mark) => mark.includes("simulated")) && [h("dt", {}, h("span", { class: "badge other" }, "simulated")), h("dd", {}, "Power comes from a simulated GPU: it is no model's energy, and no real GPU drew it.")],
    marks.includes("study") && [h("dt", {}, h("span", { class: "badge other" }, "study")), h("dd", {}, `Recorded by others: ${data.paper}.`)],
    h("dt", {}, "★★★☆☆ (2–4)"), h("dd", {}, "Three stars, but the ends of the interval stand at two and four: ", h("a", { href: "#rating" }, "what the stars mean"), "."),
    h("dt", {}, "CO2e, charges, km"), h("dd", {}, `Of the energy of ${data.boundaries[state.boundary]}, per 1,000 generations: ${state.boundary.startsWith("node") && state.boundary !== "node_gpus" ? "no PUE" : "no rest of the machine, no PUE"}; for the facility see `, h("a", { href: "#equivalents" }, "what it adds up to"), ". ", ["grid", "phone", "car"].map((kind) => `${kind}: ${data.used[kind].edition}, ${data.used[kind].shown} ${data.used[kind].unit}`).join("; "), ". ", h("a", { href: "#factors" }, "Their sources"), "."),
    h("dt", {}, "latency"), h("dd", {}, "The time that a whole batch takes; of a server, the median time to the end of an answer.")));
}
function drawFilters() {
  const choice = (key, label, values, everything) => values.length < 2 && everything !== null ? null
    : h("label", {}, label, h("select", { name: key, onchange: (event) => { state[key] = event.target.value; state.page = 0; redraw(); } },
      everything !== null && h("option", { value: "" }, everything),
      values.map(([value, words]) => h("option", { value, selected: state[key] === value }, words))));
  const plain = (name) => distinct(own.map((row) => row[name] ?? "")).filter(Boolean).sort().map((value) => [value, value]);
  const used = boundaries.filter((name, place) => rows.some((row) => row.energies[place] !== null && (studyOnly || row.mark !== "study")));
  fill("filters",
    choice("boundary", "Boundary", used.map((name) => [name, data.boundaries[name]]), null),
    choice("gpu", "GPU", plain("gpu"), "every GPU"),
    choice("machine", "GPUs at work", plain("boundary"), "any number"),
    choice("dtype", "Number format", plain("dtype"), "every format"),
    choice("mark", "Whose energy", distinct(own.map((row) => row.mark || "measured")).map((value) => [value, value]), "measured and simulated"),
    h("label", {}, "Stars by", h("select", { name: "way", onchange: (event) => { state.way = Number(event.target.value); redraw(); } }, data.ways.map((way, place) => h("option", { value: place }, way)))),
    h("label", {}, "Name", h("input", { type: "search", name: "text", placeholder: "any part of it", oninput: (event) => { state.text = event.target.value; state.page = 0; redraw(); } })),
    !studyOnly && rows.length > own.length && h("label", { class: "tick" }, h("input", { type: "checkbox", name: "study", onchange: (event) => { state.study = event.target.checked; state.page = 0; drawRanking(); } }), "with the study's models"));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
}
