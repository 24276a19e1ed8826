// What a run adds up to: the reader chooses grid, editions, PUE and generations per day; every factor is the data's.
const chosen = Object.fromEntries(Object.keys(data.factors).map((kind) => [kind, data.factors[kind].find((each) => each.id === data.chosen[kind]) ?? data.factors[kind][0]]));
const sum = { row: null, perDay: 1000 };
const CHOICES = [["gpu-to-system", "Rest of the machine"], ["pue", "Data centre (PUE)"], ["grid", "Grid"], ["phone", "Phone charge"], ["car", "Car"]];
const MOST_DECADES = 9, MOST_PER_DAY = 10 ** MOST_DECADES;

// All quantities of an amount of IT energy, in kWh, by the factors that are chosen.
function quantities(energyKwh) {
  const found = { energy_kwh: energyKwh };
  for (const step of data.recipe) {
    const used = step.kind && (chosen[step.kind] ?? data.used[step.kind]);
    if (step.times) found[step.name] = found[step.of] * step.times;
    else if (step.name === "carbon_g_co2e") found[step.name] = found[step.of] * used.value * used.scale;
    else found[step.name] = found[step.of] / (used.value * used.scale);
  }
  return found;
}
function drawCalculator() {
  const offered = [...rows.filter((row) => placed(row) && row.mark !== "study"), ...rows.filter((row) => placed(row) && row.mark === "study")].slice(0, 600);
  if (!offered.length) { fill("calculator", h("p", { class: "note" }, "No run has a figure under this boundary.")); return; }
  if (!offered.includes(sum.row)) sum.row = offered.find(inTask) ?? offered[0];
  const slider = h("input", { type: "range", name: "per-day", min: 0, max: MOST_DECADES, step: 0.05, value: Math.log10(sum.perDay), "aria-label": "Generations per day, logarithmic", oninput: () => { sum.perDay = Number((10 ** Number(slider.value)).toPrecision(2)); number.value = sum.perDay; said(""); add(); } });
  const number = h("input", { type: "number", name: "count", min: 1, max: MOST_PER_DAY, step: "any", value: sum.perDay, "aria-describedby": "clamped", oninput: () => {
    const asked = number.valueAsNumber, taken = Math.min(MOST_PER_DAY, Math.max(1, asked));
    if (Number.isNaN(asked)) { said(`No number: the sums below stay at ${significant(sum.perDay)} generations a day.`); return; }
    said(asked === taken ? "" : `From 1 to ${MOST_PER_DAY.toLocaleString("en")} a day: the sums below are of ${taken.toLocaleString("en")}.`);
    sum.perDay = taken; slider.value = Math.log10(taken); add();
  } });
  const said = (words) => fill("clamped", words);
  fill("calculator", h("form", { class: "filters", "aria-label": "What it adds up to", onsubmit: (event) => event.preventDefault() },
    h("label", { class: "wide" }, "Run", h("select", { name: "run", onchange: (event) => { sum.row = rows[Number(event.target.value)]; add(); } }, offered.map((row) => h("option", { value: row.index, selected: row === sum.row }, `${[row.model, row.load, row.dtype, row.prompts !== "builtin" && row.prompts, readable(row.task)].filter(Boolean).join(", ")}${row.mark ? ` (${row.mark})` : ""}`)))),
    CHOICES.map(([kind, label]) => h("label", {}, label, h("select", { name: kind, onchange: (event) => { chosen[kind] = event.target.value === "" ? null : data.factors[kind].find((each) => each.id === event.target.value); add(); } },
      ["pue", "gpu-to-system"].includes(kind) && h("option", { value: "", selected: chosen[kind] === null }, "not counted (× 1)"),
      data.factors[kind].map((each) => h("option", { value: each.id, selected: each === chosen[kind] }, `${each.edition}: ${each.shown} ${each.unit}`))))),
    h("label", {}, "Generations per day", number)), h("p", { class: "note", id: "clamped", role: "status" }), h("div", { class: "slide" }, slider), h("div", { id: "sum" }));
  add();
}
// Where the sum starts, as harness explain does: the node where it was metered, else every GPU of the machine, to which the
// factor adds the rest of it; else the GPUs that ran the model, whose share the factor cannot know. Energy above idle is
// what the work adds and takes no share of the rest.
function startOf(row) {
  const rest = chosen["gpu-to-system"] ? chosen["gpu-to-system"].value : 1, scaled = rest === 1 ? "" : `, × ${significant(rest)} for the rest of the machine, modelled`;
  if (state.boundary === "node" || state.boundary === "node_as_study") return { energy: energyOf(row), rest: 1, from: "the node, as it is" };
  if (state.boundary === "above_idle") return { energy: energyOf(row), rest: 1, from: "above idle: what the work adds, no share of the rest of the machine" };
  if (energyAt(row, "node")) return { energy: energyAt(row, "node"), rest: 1, from: "the node, metered" };
  if (energyAt(row, "node_gpus")) return { energy: energyAt(row, "node_gpus"), rest, scales: true, from: `every GPU of the machine${scaled}` };
  return { energy: energyOf(row), rest, scales: true, from: `this GPU's share${rest === 1 ? "" : ", scaled"}${scaled}: what the machine's other GPUs drew is not known` };
}
function add() {
  const own = energyOf(sum.row), start = startOf(sum.row), [kwh, low, high] = start.energy;
  const pue = chosen.pue ? chosen.pue.value : 1;
  const spans = [["1,000 generations", 1000], ["a day", sum.perDay], ["a year", sum.perDay * data.units.days_per_year]];
  const amounts = spans.map(([, count]) => { const node = (kwh / 1000) * count * start.rest; return { device: (own[0] / 1000) * count, node, facility: node * pue, ...quantities(node * pue) }; });
  const line = (name, label, unit, show) => h("tr", {}, h("th", { scope: "row" }, label), amounts.map((each, place) => h("td", { "data-quantity": name, "data-span": place, "data-value": each[name] }, show(each[name]), unit && ` ${unit}`)));
  const energy = (value) => { for (const [size, unit] of [[1e6, "GWh"], [1e3, "MWh"], [1, "kWh"], [1e-3, "Wh"]]) if (value >= size) return `${significant(value / size)} ${unit}`; return `${significant(value * 1000)} Wh`; };
  const doubt = low === null ? "No interval is known of the energy that this starts from." : `By the 95 % interval of the energy that this starts from, all of it may be ${significant(100 * (low / kwh - 1), 2)} % to +${significant(100 * (high / kwh - 1), 2)} % off; the ranges of the factors come on top.`;
  fill("sum", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What it adds up to" }, h("table", { class: "sum" },
    h("caption", {}, `${sum.row.model}, ${sum.row.load}`, sum.row.mark && [" ", badge(sum.row)], `: ${data.boundaries[state.boundary]}, ${plusMinus(...own)} kWh per 1,000`, " ", chips(sum.row)),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "what"), spans.map(([words, count]) => h("th", { scope: "col" }, words, words !== spans[0][0] && h("small", {}, ` ${significant(count)} generations`))))),
    h("tbody", {}, line("device", "energy under the boundary", "", energy), line("node", ["node", h("small", {}, ` ${start.from}`)], "", energy), line("facility", ["facility", h("small", {}, ` node × ${significant(pue)}${pue === 1 ? ", no PUE" : ", PUE"}`)], "", energy),
      h("tr", { class: "of" }, h("th", { scope: "rowgroup", colspan: 4 }, "Of the facility's energy (the ranking above: of the energy under its boundary alone)")),
      data.recipe.filter((step) => step.name !== "car_miles").map((step) => line(step.name, step.label, step.name === "carbon_g_co2e" ? "" : step.unit, step.name === "carbon_g_co2e" ? mass : significant))))),
  h("p", {}, doubt), h("ul", { class: "sources" }, CHOICES.filter(([kind]) => chosen[kind] && (start.scales || kind !== "gpu-to-system")).map(([kind, label]) => h("li", {}, h("b", {}, `${label}: `), sourceOf(chosen[kind])))));
}
