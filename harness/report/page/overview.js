// What the page holds, the least and the most of a task at a glance, the figures, and the bands of the stars.
const tasks = distinct((studyOnly ? rows.filter((row) => row.mark === "study") : ranked).map((row) => row.task));
const readable = (task) => task.replaceAll("-", " ");

function drawLead() {
  const good = ranked;
  const models = distinct(good.map((row) => row.model)).length, boards = distinct(good.map((row) => row.gpu).filter(Boolean));
  const study = rows.length - own.length;
  fill("lead", good.length === 0
    ? `${own.length ? "No run that could be ranked" : study ? `The ${several(distinct(rows.map((row) => row.model)).length, "model")} of the study of 2023` : "No run"}. `
    : `${several(good.length, "run")} of ${several(models, "model")} on ${several(tasks.length, "task")}${boards.length ? `, ${boards.slice(0, 3).join(", ")}${boards.length > 3 ? " and others" : ""}` : ""}. `,
  "Energy per 1,000 generations, with its 95 % interval and what to doubt beside every number.");
  const simulated = good.filter((row) => row.mark).length;
  fill("marks", simulated > 0 && h("p", { class: "note" }, h("span", { class: "badge other" }, "simulated"), " ",
    simulated === good.length ? "Every energy of these runs" : `The energy of ${several(simulated, "run")}`,
    " comes from a simulated GPU: no model's energy, and no real GPU drew it."),
  studyOnly && study > 0 && h("p", { class: "note" }, h("span", { class: "badge other" }, "study"), ` Recorded by others: ${data.paper}. Nothing on this page was measured by its author.`));
}
function drawTasks() {
  const pick = (task) => h("button", { type: "button", "aria-pressed": String(state.task === task), onclick: () => {
    state.task = task; state.page = 0; redraw();
    at("tasks").querySelector("[aria-pressed=true]").focus();
  } }, task === null ? "every task" : readable(task));
  fill("tasks", tasks.map(pick), tasks.length > 1 && pick(null));
}
// Runs that may be set side by side: as `peers` of report/ranking.
const peers = (row) => JSON.stringify([row.task, row.gpu, row.boundary, row.mark, row.work, row.prompts]);
function drawHero() {
  const found = rows.filter((row) => placed(row) && asked(row) && inTask(row) && (row.mark === "study") === studyOnly);
  const groups = new Map();
  for (const row of found) groups.set(peers(row), [...(groups.get(peers(row)) ?? []), row]);
  const largest = [...groups.values()].sort((a, b) => b.length - a.length)[0];
  if (!largest) { fill("hero", h("p", { class: "note" }, "Nothing to show: no run has a figure under this boundary and these filters.")); return; }
  const order = [...largest].sort((a, b) => energyOf(a)[0] - energyOf(b)[0]);
  const least = order[0], most = order[order.length - 1];
  const [one, two] = [energyOf(least), energyOf(most)];
  const apart = one[2] === null || two[1] === null || one[2] < two[1];
  const same = least.model === most.model;
  const differing = ["load", "dtype"].filter((name) => least[name] !== most[name]);
  const how = (row) => differing.length > 0 && ` (${differing.map((name) => row[name]).join(", ")})`;
  const words = order.length === 1 ? ["Only ", h("b", {}, least.model), " stands here."]
    : [h("b", {}, most.model), how(most), " takes ", h("strong", {}, `${significant(two[0] / one[0], 2)} times`), " the energy of ",
      h("b", {}, same ? "itself" : least.model), how(least), apart ? "." : ", but their intervals overlap: they are not told apart."];
  const side = (label, row) => {
    const [kwh, low, high] = energyOf(row);
    return h("div", { class: "side" }, h("p", { class: "which" }, label), h("p", { class: "name" }, runLink(row), " ", badge(row)),
      h("p", { class: "figure" }, plusMinus(kwh, low, high), h("small", {}, " kWh per 1,000")), bar(kwh, low, high, two[2] ?? two[0]),
      h("p", { class: "same" }, `${significant(kwh * perKwh.phone_charges)} phone charges · ${significant(kwh * perKwh.car_km)} km by car · ${mass(kwh * perKwh.carbon_g_co2e)} CO2e`),
      h("p", { class: "how" }, [row.load, row.dtype, row.gpu].filter(Boolean).join(" · ")), chips(row));
  };
  fill("hero", h("p", { class: "verdict" }, words),
    h("div", { class: "sides" }, side("Least", least), order.length > 1 && side("Most", most)),
    h("p", { class: "scope" }, `${capital(readable(least.task))}; ${data.boundaries[state.boundary]}; ${[least.gpu, least.boundary, least.work, `prompts: ${least.prompts}`].filter(Boolean).join(", ")}; ${several(order.length, studyOnly ? "model" : "run")}.`,
      groups.size > 1 && ` ${several(groups.size - 1, "other group")} of runs (another task, GPU, origin, length of answer, or prompts) in the ranking below.`));
}
function drawFigures() {
  const figures = at("figures");
  const width = Math.max(280, Math.min(760, figures.clientWidth > 1000 ? (figures.clientWidth - 48) / 2 - 2 : figures.clientWidth));
  const everything = rows.filter((row) => placed(row) && (row.mark === "study" || asked(row)));
  const here = everything.filter(inTask);
  const kind = (row) => (behind(row) ? "study" : "own");
  const colours = studyOnly ? "" : " Filled: runs of this page; hollow grey: the study's models.";
  const energy = { label: "kWh per 1,000 generations, log", log: true };
  const point = (x, y) => (row) => ({ x: x(row), y: y(row), row, kind: kind(row), shape: row.general ? "diamond" : "circle", low: energyOf(row)[1], high: energyOf(row)[2] });
  const columns = [["kWh per 1,000", (p) => plusMinus(...energyOf(p.row))], ["how", (p) => [p.row.load, p.row.dtype, p.row.work, p.row.prompts].filter(Boolean).join(", ")]];
  const kwh = (row) => energyOf(row)[0];
  const about = `${state.task === null ? "Every task" : capital(readable(state.task))}; ${data.boundaries[state.boundary]}.${colours}`;
  const made = [byTask(everything, point, energy, columns, kwh)];
  made.push(against(here.filter((row) => row.parameters), "Energy against parameters", "parameters, log", (row) => row.parameters, true));
  made.push(pareto(here.filter((row) => row.latency_s), point, energy, columns, kwh, about));
  made.push(batches(here.filter((row) => row.batch_size && row.mark !== "study"), point, energy, columns, kwh));
  made.push(general(everything, point, energy, columns, kwh));
  made.push(against(here.filter((row) => row.quality !== null), "Quality against energy", `${here.find((row) => row.quality !== null)?.quality_metric ?? "quality"} (as given by the user)`, (row) => row.quality, false));
  figures.replaceChildren(...made.filter(Boolean).map((options) => plot(width, options)));

  function against(found, title, label, of, log) {
    if (found.length < 2) return null;
    const order = [...found].sort((a, b) => of(a) - of(b));
    const shown = (value) => (log ? tickText(Number(value.toPrecision(3))) : significant(value));
    const sentence = `${several(found.length, "point")}, ${shown(of(order[0]))} to ${shown(of(order[order.length - 1]))}: ${order[0].model} takes ${significant(kwh(order[0]))} kWh per 1,000, ${order[order.length - 1].model} ${significant(kwh(order[order.length - 1]))}. ${about}`;
    return { title, sentence, x: { label, log }, y: energy, points: found.map(point(of, kwh)), columns: [...columns, [label, (p) => shown(of(p.row))]] };
  }
}
function byTask(found, point, energy, columns, kwh) {
  const names = distinct(found.map((row) => row.task));
  if (!names.length) return null;
  const middle = (task) => { const all = found.filter((row) => row.task === task).map(kwh).sort((a, b) => a - b); return all[Math.floor(all.length / 2)]; };
  names.sort((a, b) => middle(a) - middle(b));
  const [first, last] = [names[0], names[names.length - 1]];
  return { title: "Energy per 1,000 generations by task", y: { names: names.map(readable) }, x: energy,
    sentence: `The median is least for ${readable(first)} (${significant(middle(first))} kWh) and most for ${readable(last)} (${significant(middle(last))} kWh). ${capital(data.boundaries[state.boundary])}. ${studyOnly ? "" : "Filled: runs of this page; hollow grey: the study's models. "}Diamonds: general models that were asked by a prompt.`,
    points: found.map(point(kwh, (row) => names.indexOf(row.task))), columns: [["task", (p) => p.row.task], ...columns] };
}
function pareto(found, point, energy, columns, kwh, about) {
  if (found.length < 2) return null;
  const front = [];
  for (const row of [...found].sort((a, b) => a.latency_s - b.latency_s || kwh(a) - kwh(b))) {
    if (!front.length || kwh(row) < kwh(front[front.length - 1])) front.push(row);
  }
  const points = found.map(point((row) => row.latency_s, kwh));
  return { title: "Energy against latency", x: { label: "latency of a batch, s, log", log: true }, y: energy, points,
    paths: front.length > 1 ? [{ kind: "front", points: front.map((row) => ({ x: row.latency_s, y: kwh(row) })) }] : [],
    sentence: `On the line nothing is both faster and thriftier (the Pareto front): ${front.slice(0, 4).map((row) => `${row.model}, ${row.load}`).join("; ")}${front.length > 4 ? ` and ${front.length - 4} more` : ""}. ${about}`,
    columns: [...columns, ["latency", (p) => duration(p.row.latency_s)], ["on the front", (p) => (front.includes(p.row) ? "yes" : "no")]] };
}
function batches(found, point, energy, columns, kwh) {
  const lines = new Map();
  for (const row of found) {
    const key = JSON.stringify([row.campaign, row.task, row.model, row.dtype, row.gpu, row.boundary, row.work, row.prompts, row.mark]);
    lines.set(key, [...(lines.get(key) ?? []), row]);
  }
  const swept = [...lines.values()].filter((line) => distinct(line.map((row) => row.batch_size)).length > 1)
    .map((line) => line.sort((a, b) => a.batch_size - b.batch_size));
  if (!swept.length) return null;
  const best = swept.map((line) => line.reduce((a, b) => (kwh(a) <= kwh(b) ? a : b)));
  return { title: "Energy against batch size", x: { label: "batch size, log", log: true }, y: energy,
    points: swept.flat().map(point((row) => row.batch_size, kwh)), paths: swept.map((line) => ({ kind: "sweep", points: line.map((row) => ({ x: row.batch_size, y: kwh(row) })) })),
    sentence: `${several(swept.length, "model")} at two sizes or more. Least: ${best.slice(0, 4).map((row) => `${row.model} (${row.dtype}) at ${row.load}`).join("; ")}.`, columns };
}
function general(everything, point, energy, columns, kwh) {
  const both = distinct(everything.map((row) => row.task)).filter((task) => [true, false].every((wanted) => everything.some((row) => row.task === task && row.general === wanted)));
  if (!both.length) return null;
  const found = everything.filter((row) => both.includes(row.task) && row.general !== null);
  const mean = (task, wanted) => { const all = found.filter((row) => row.task === task && row.general === wanted).map(kwh); return all.reduce((a, b) => a + b, 0) / all.length; };
  const names = both.flatMap((task) => [readable(task), "general models"]);
  return { title: "General-purpose against task-specific", y: { names }, x: energy,
    sentence: `${both.map((task) => `For ${readable(task)} general models take ${significant(mean(task, true) / mean(task, false), 2)} times as much as those made for it (means)`).join(". ")}. ${capital(data.boundaries[state.boundary])}. Under each task, diamonds: general models, asked by a prompt.`,
    points: found.map(point(kwh, (row) => 2 * both.indexOf(row.task) + (row.general ? 1 : 0))), columns: [["task", (p) => p.row.task], ["kind", (p) => (p.row.general ? "general, asked by a prompt" : "made for the task")], ...columns] };
}
function drawBands() {
  const found = data.bands.filter((band) => band.boundary === state.boundary && (state.task === null || band.task === state.task) && (band.mark !== "study" || studyOnly || state.task !== null));
  fill("bands", h("p", {}, "Stars tell a model's place among the models beside it: one task, the same prompts and length of answer, one GPU, as many of it, one boundary, measured apart from simulated. With other models beside it, it has other stars. Two ways, since they disagree wherever one model is far off:"),
    h("ul", {}, h("li", {}, h("b", {}, "equal bands"), ": the range from the least to the most energy in five equal parts, as AI Energy Score words it. One very costly model lifts all others."),
      h("li", {}, h("b", {}, "quantiles"), ": every fifth of the models has one number of stars.")),
    h("p", {}, "Each model counts once, by its run of least energy. An interval that crosses an edge is shown by the stars at its two ends; of what all runs on a board share (its sensor's gain), both ends move together, so that fewer crossings are open than it seems."),
    found.length === 0 ? h("p", { class: "note" }, "No stars here: a group needs at least two models whose energies differ.")
      : h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Edges of the bands" }, h("table", {},
        h("caption", {}, "Edges of the bands, kWh per 1,000 generations"),
        h("thead", {}, h("tr", {}, ["task, GPU", "way", "models", "★★★★★ up to", "★★★★ up to", "★★★ up to", "★★ up to", "★ up to"].map((words) => h("th", { scope: "col" }, words)))),
        h("tbody", {}, found.map((band) => h("tr", {}, h("th", { scope: "row" }, [readable(band.task), band.gpu, band.boards, band.work, `prompts: ${band.prompts}`].filter(Boolean).join(", "), band.mark && [" ", h("span", { class: "badge other" }, band.mark)]),
          h("td", {}, band.way), h("td", {}, `${band.models} `, band.models < 5 && h("span", { class: "chip", title: "Fewer models than bands: little can be read from them." }, "few")), band.edges.map((edge) => h("td", {}, significant(edge))), h("td", {}, significant(band.high))))))));
}
