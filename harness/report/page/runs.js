// A section for each run: its energies, doubt, power trace, windows, environment, and what it was asked.
function drawRuns() {
  const detailed = own.filter((row) => data.details[row.index]);
  fill("details", own.length > detailed.length && h("p", { class: "note" }, `${several(own.length - detailed.length, "run")} of ${own.length.toLocaleString("en")} have no section here, to keep the page small: those in the middle of their rankings. See them with: harness show RUN.`),
    detailed.length === 0 && h("p", {}, "There is no run of your own on this page."),
    detailed.map((row) => {
      const holder = h("details", { class: "run", id: anchor(row) }, h("summary", {}, h("span", { class: "name" }, row.model), " ", badge(row), h("small", {}, [row.task, row.load, row.dtype, row.gpu, row.campaign].filter(Boolean).join(" · "))));
      holder.addEventListener("toggle", () => { if (holder.open && holder.children.length === 1) holder.append(runSection(row, data.details[row.index])); });
      return holder;
    }));
}
const grid = (label, heads, lines) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", {}, h("caption", {}, label),
  h("thead", {}, h("tr", {}, heads.map((words) => h("th", { scope: "col" }, words)))), h("tbody", {}, lines.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)))))));
const cellOf = (value, words = "not measured") => (value === null ? words : significant(value, 4));

function runSection(row, detail) {
  const mark = row.mark ? `, ${row.mark}` : "";
  const body = h("div", { class: "body" }, h("p", { class: "identity" }, h("code", {}, row.run_id), ` ${detail.status}, ${detail.started} to ${detail.finished}, campaign ${row.campaign}`));
  if (detail.failure) body.append(h("p", { class: "note" }, `Failed in ${detail.failure[0]}: ${detail.failure[1]} ${detail.failure[2]}`));
  if (row.left_out) body.append(h("p", { class: "note" }, `Not in the ranking: ${row.left_out}`));
  if (detail.caveats.length) body.append(h("dl", { class: "legend" }, detail.caveats.map(([code, message]) => [h("dt", {}, h("span", { class: "chip" }, code)), h("dd", {}, message)])));
  if (row.energies[0]) {
    body.append(grid(`Energy per 1,000 generations, by boundary${mark}`, ["boundary", "kWh, 95 % interval", "g CO2e", "phone charges", "km by car"], boundaries.filter((name, place) => row.energies[place] || name === "node").map((name) => {
      const energy = row.energies[boundaries.indexOf(name)];
      if (!energy) return [data.boundaries[name], detail.node_missing ?? "not measured", "–", "–", "–"];
      const many = (quantity) => (energy[0] > 0 ? significant(energy[0] * perKwh[quantity]) : "–"); // of the line's own energy
      return [data.boundaries[name], plusMinus(...energy), many("carbon_g_co2e"), many("phone_charges"), many("car_km")];
    })), h("p", {}, "CO2e, charges and km: each of its own line's energy, no rest of the machine and no PUE; by the factors ", h("a", { href: "#factors" }, ["grid", "phone", "car"].map((kind) => data.used[kind].edition).join(", ")), `; every step, to the facility and its CO2e: harness explain ${row.run_id}`));
    const beside = besideStudy(row);
    if (beside) body.append(h("p", {}, beside));
  }
  if (detail.budget) body.append(...budgetOf(detail.budget, mark));
  if (detail.trace) body.append(traceOf(detail.trace, row));
  else body.append(h("p", {}, `No power trace is drawn here: ${detail.no_trace}${/[.]$/.test(detail.no_trace) ? "" : "."}`));
  if (detail.windows.length) body.append(h("details", {}, h("summary", {}, `Its ${several(detail.windows.length, "window")}`), grid(`Windows${mark}`, ["window", "s at work", "generations", "J per generation", "counted"], detail.windows.map(([label, busy, count, energy, why]) => [label, significant(busy), significant(count, 4), cellOf(energy, "–"), why === null ? "yes" : `no: ${why}`]))));
  if (detail.idle.length) body.append(grid(`Idle power, W${mark}`, ["device", "before load", "null windows (subtracted)", "after load"], detail.idle.map(([name, ...watts]) => [name, ...watts.map((each) => cellOf(each))])));
  for (const [tool, version, theirs, ours, note] of detail.checks) body.append(h("p", {}, `Cross-check: ${tool} ${version} says ${cellOf(theirs, "nothing")} J for the GPUs over the same windows, the harness ${significant(ours, 4)} J${mark}. ${note}`));
  body.append(h("details", {}, h("summary", {}, "What it was asked, and where it ran"), h("pre", { tabindex: "0" }, JSON.stringify({ asked: detail.spec, environment: detail.environment === null ? null : data.environments[detail.environment] }, null, 1))));
  return body;
}
// Where a run stands among the study's models of its task, under the boundary that is chosen.
function besideStudy(row) {
  const mine = energyOf(row), theirs = rows.filter((each) => each.mark === "study" && each.task === row.task && energyOf(each)).map((each) => energyOf(each)[0]).sort((a, b) => a - b);
  if (!mine || !theirs.length) return null;
  const below = theirs.filter((each) => each < mine[0]).length;
  return `Beside the study (${data.boundaries[state.boundary]}; A100, batch 1, float32): its ${several(theirs.length, "model")} on ${readable(row.task)} take ${significant(theirs[0])} to ${significant(theirs[theirs.length - 1])} kWh per 1,000, and ${below} of them less than this run.`;
}
function budgetOf(budget, mark) {
  const largest = Math.max(...budget.lines.map((line) => line[2]));
  const percent = (u) => { const part = (100 * u) / Math.abs(budget.energy[0]); return part > 0 && part < 0.001 ? "below 0.001 %" : `${significant(part, 2)} %`; };
  const counted = budget.lines.filter((line) => line[3]).sort((a, b) => b[2] - a[2]);
  const chart = h("figure", { class: "budget" }, h("figcaption", {}, h("h4", {}, "Where the doubt comes from"),
    h("p", {}, `${plusMinus(...budget.energy)} J per generation${mark} (95 %; ${budget.boundary}). Most of it: ${counted.slice(0, 2).map((line) => `${line[0]} (${percent(line[2])})`).join(", ")}; together ${percent(budget.u)}. Hollow bars show the same doubt a second way and are not counted.`)),
  h("ul", { class: "terms" }, budget.lines.map(([term, kind, u, counts, by]) => {
    const made = h("span", { class: `term ${counts ? "" : "hollow"}` });
    made.style.width = `${largest > 0 ? (100 * u) / largest : 0}%`;
    return h("li", {}, h("span", { class: "what" }, term, h("small", {}, ` ${kind}; less by: ${by}`)), h("span", { class: "track", "aria-hidden": "true" }, made), h("span", { class: "share" }, percent(u), !counts && h("small", {}, " not counted")));
  })));
  const sensors = budget.sensors.map((sensor) => h("p", {}, `${sensor.device_name}: energy by ${sensor.method}; sensor profile ${sensor.sensor_profile}, a reading every ${significant(sensor.period_s * 1000)} ms, ${significant(100 * sensor.undersampled_fraction, 2)} % of the time unseen; gain ${sensor.gain_source}.`));
  return [chart, ...sensors];
}
const STRIP = 18; // height of the band of phases
const isWindow = (phase) => phase[3] !== null;
function traceOf(trace, row) {
  const width = Math.max(280, Math.min(1000, at("details").clientWidth - 40)), height = 262, left = 48, right = 10, top = 44, bottom = 40;
  const across = { low: 0, high: trace.t[trace.t.length - 1] || 1 }, most = Math.max(...trace.w, 1) * 1.08;
  const x = (t) => left + (t / across.high) * (width - left - right), y = (w) => height - bottom - (w / most) * (height - top - bottom);
  const windows = trace.phases.filter(isWindow), rejected = windows.filter((each) => each[4]).length;
  const shades = windows.map(([, from, to, , out]) => svg("rect", { class: out ? "window rejected" : "window", x: x(from), width: Math.max(1, x(to) - x(from)), y: top, height: height - top - bottom }));
  const lines = ticks(0, most, false).map((w) => [svg("line", { class: "grid", x1: left, x2: width - right, y1: y(w), y2: y(w) }), svg("text", { class: "tick", x: left - 6, y: y(w) + 4, "text-anchor": "end" }, tickText(w))]);
  const along = ticks(0, across.high, false).map((t) => svg("text", { class: "tick", x: x(t), y: height - bottom + 16, "text-anchor": "middle" }, tickText(t)));
  const path = trace.t.map((t, index) => `${index ? "L" : "M"}${x(t).toFixed(1)} ${y(trace.w[index]).toFixed(1)}`).join("");
  const busy = windows.reduce((sum, each) => sum + each[3], 0), span = windows.reduce((sum, each) => sum + each[2] - each[1], 0);
  const sentence = `${trace.device}${trace.boards > 1 ? `, the first of ${trace.boards} boards` : ""}${row.mark ? `, ${row.mark}` : ""}: ${significant(Math.min(...trace.w))} to ${significant(Math.max(...trace.w))} W over ${significant(across.high)} s, ${several(trace.samples, "sample")}. ${several(windows.length, "window")}${rejected ? `, ${rejected} of them rejected (dashed edge)` : ""}: from edge to edge ${significant(span)} s, of which ${significant(busy)} s at work; the rest is waiting for the meter and delays. Dashed line: the idle power that is subtracted${trace.idle_w === null ? ", not measured" : `, ${significant(trace.idle_w)} W`}.`;
  return h("figure", { class: "plot" }, h("figcaption", {}, h("h4", {}, "Power over the run"), h("p", {}, sentence)),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Power over the run. ${sentence}` }, shades, lines, along, bandOf(trace.phases, windows, x, top - STRIP - 4),
      svg("path", { class: "power", d: path }), trace.idle_w !== null && svg("line", { class: "idle", x1: left, x2: width - right, y1: y(trace.idle_w), y2: y(trace.idle_w) }),
      svg("text", { class: "axis", x: left, y: 12 }, "W"), svg("text", { class: "axis", x: width - right, y: height - 6, "text-anchor": "end" }, "s")),
    trace.phases.length > 0 && h("p", { class: "note keys" }, [["resting", "idle before and after"], ["warm-up", "warm-up"], ["at-work", "windows, numbered"], ["null", "null windows and settling, without work"]].map(([kind, words]) => h("span", { class: "key" }, svg("svg", { width: 16, height: 12, "aria-hidden": "true" }, svg("rect", { class: `phase ${kind}`, x: 1, y: 1, width: 14, height: 10 })), ` ${words}`))),
    trace.phases.length > 0 && h("details", {}, h("summary", {}, "The phases of this run"), grid("Phases, seconds since the first sample; those that are no windows by the durations in spec and record, to a period of the sensor", ["phase", "from, s", "to, s", "length, s", "of it at work, s"],
      trace.phases.map(([name, from, to, work, out]) => [name + (out ? ", rejected" : ""), significant(from, 4), significant(to, 4), significant(to - from), work === null ? "–" : significant(work)]))));
}
// A strip above the plot: what happened when, with its name where there is room.
function bandOf(phases, windows, x, top) {
  return phases.map((phase) => {
    const [name, from, to, , out] = phase, wide = x(to) - x(from);
    const kind = isWindow(phase) ? "at-work" : name.startsWith("idle") ? "resting" : name === "warm-up" ? "warm-up" : "null";
    const words = isWindow(phase) ? String(windows.indexOf(phase) + 1) : kind === "null" ? "" : wide > 7 * name.length ? name : name.split(" ")[0];
    return [svg("rect", { class: `phase ${kind}${out ? " rejected" : ""}`, x: x(from), width: Math.max(1, wide), y: top, height: STRIP }, svg("title", {}, name)),
      words && wide > 7 * words.length && svg("text", { class: `phase-name ${kind}`, x: x(from) + wide / 2, y: top + 13, "text-anchor": "middle" }, words)];
  });
}
function openNamed() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch { /* not encoded: taken as it is */ }
  const target = name !== "" && at(name);
  if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView({ block: "start" }); target.querySelector("summary").focus({ preventScroll: true }); }
}
