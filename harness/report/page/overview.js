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
  const every = tasks.length > 1 && pick(null);
  fill("tasks", studyOnly ? [every, tasks.map(pick)] : [tasks.map(pick), every]);
}
function drawHero() {
  if (studyOnly && state.task === null) { drawSpread(); return; }
  const found = rows.filter((row) => placed(row) && asked(row) && inTask(row) && (row.mark === "study") === studyOnly);
  const groups = groupsOf(found), largest = groups[0];
  if (!largest) { fill("hero", h("p", { class: "note" }, "Nothing to show: no run has a figure under this boundary and these filters.")); return; }
  const order = [...largest].sort((a, b) => energyOf(a)[0] - energyOf(b)[0]);
  const least = order[0], most = order[order.length - 1];
  const [one, two] = [energyOf(least), energyOf(most)];
  const [, low, high] = data.ratios[`${least.index},${most.index},${state.boundary}`] ?? [null, null, null]; // what both share cancels
  const [times, from, to] = ratioTexts(two[0] / one[0], low, high);
  const overlap = one[2] !== null && two[1] !== null && one[2] >= two[1];
  const doubt = low !== null ? (low > 1 ? "." : ": the ratio's interval holds 1, they are not told apart.") : overlap ? ". Their intervals overlap; harness compare tells whether they differ." : ".";
  const same = least.model === most.model;
  const differing = ["load", "dtype"].filter((name) => least[name] !== most[name]);
  const how = (row) => differing.length > 0 && ` (${differing.map((name) => row[name]).join(", ")})`;
  const words = order.length === 1 ? ["Only ", h("b", {}, least.model), " stands here."]
    : [h("b", {}, most.model), how(most), " takes ", h("strong", {}, `${times} times`), from && h("small", {}, ` (95 %: ${from} to ${to})`), " the energy of ",
      h("b", {}, same ? "itself" : least.model), how(least), doubt];
  const side = (label, row) => sideOf(label, [runLink(row), " ", badge(row)], energyOf(row), two[2] ?? two[0], [row.load, row.dtype, row.gpu].filter(Boolean).join(" · "), chips(row));
  fill("hero", h("p", { class: "verdict" }, words),
    h("div", { class: "sides" }, side("Least", least), order.length > 1 && side("Most", most)),
    h("p", { class: "scope" }, `${capital(readable(least.task))}; ${data.boundaries[state.boundary]}; ${[least.gpu, least.boundary, least.work, `prompts: ${least.prompts}`].filter(Boolean).join(", ")}; ${several(order.length, studyOnly ? "model" : "run")}.`,
      groups.length > 1 && ` ${several(groups.length - 1, "other group")} of runs (another task, GPU, origin, length of answer, or prompts) in the ranking below.`));
}
// A ratio and its interval, to the second significant digit of the half-width; without one to two digits.
function ratioTexts(ratio, low, high) {
  if (low === null) return [significant(ratio, 2)];
  const places = Math.min(3, Math.max(0, 1 - Math.floor(Math.log10(Math.max((high - low) / 2, 1e-3)))));
  return [ratio, low, high].map((each) => each.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
}
function sideOf(label, name, [kwh, low, high], most, how, doubts) {
  return h("div", { class: "side" }, h("p", { class: "which" }, label), h("p", { class: "name" }, name),
    h("p", { class: "figure" }, plusMinus(kwh, low, high), h("small", {}, " kWh per 1,000")), bar(kwh, low, high, most),
    h("p", { class: "same" }, `${significant(kwh * perKwh.phone_charges)} phone charges · ${significant(kwh * perKwh.car_km)} km by car · ${mass(kwh * perKwh.carbon_g_co2e)} CO2e`, h("small", {}, " of this energy alone, no PUE")),
    h("p", { class: "how" }, how), doubts);
}
// The study's first figure: how far tasks lie apart, by the means of the models made for each.
function drawSpread() {
  const found = rows.filter((row) => placed(row) && asked(row));
  const means = distinct(found.map((row) => row.task)).map((task) => {
    const own = found.filter((row) => row.task === task && !row.general);
    return { task, count: own.length, kwh: own.reduce((all, row) => all + energyOf(row)[0], 0) / own.length };
  }).filter((each) => each.count > 0).sort((a, b) => a.kwh - b.kwh);
  if (means.length < 2) { fill("hero", h("p", { class: "note" }, "Nothing to set side by side: fewer than two tasks have a figure under this boundary and these filters.")); return; }
  const least = means[0], most = means[means.length - 1];
  const side = (label, mean) => sideOf(label, [capital(readable(mean.task)), " ", badge(found[0])], [mean.kwh, null, null], most.kwh, `mean of ${several(mean.count, "model")} made for it`, null);
  fill("hero", h("p", { class: "verdict" }, h("b", {}, capital(readable(most.task))), " takes ", h("strong", {}, `${significant(most.kwh / least.kwh)} times`), " the energy of ", h("b", {}, readable(least.task)), "."),
    h("div", { class: "sides" }, side("Least", least), side("Most", most)),
    h("p", { class: "scope" }, `${data.boundaries[state.boundary]}; ${[found[0].gpu, found[0].boundary, found[0].load].filter(Boolean).join(", ")}; ${several(means.length, "task")}, means over the models made for each, without the general ones.`),
    plot(Math.max(280, Math.min(1100, at("hero").clientWidth - 58)), byTask(found)));
}
const ENERGY = { label: "kWh per 1,000 generations, log", log: true };
const kwh = (row) => energyOf(row)[0];
const point = (x, y) => (row) => ({ x: x(row), y: y(row), row, kind: behind(row) ? "study" : "own", shape: row.general ? "diamond" : "circle", low: energyOf(row)[1], high: energyOf(row)[2] });
const COLUMNS = [["kWh per 1,000", (p) => plusMinus(...energyOf(p.row))], ["how", (p) => [p.row.load, p.row.dtype, p.row.work, p.row.prompts].filter(Boolean).join(", ")]];
// What a sentence about rows must add where they are no peers.
function pooledWords(groups) {
  const ways = distinct(groups.flatMap(mixed)).filter((name) => name !== "task").map((name) => PEERS[name]);
  return ways.length ? ` Pooled over different ${ways.join(", ")}.` : "";
}
function drawFigures() {
  const figures = at("figures");
  const width = Math.max(280, Math.min(760, figures.clientWidth > 1000 ? (figures.clientWidth - 48) / 2 - 2 : figures.clientWidth));
  const everything = rows.filter((row) => placed(row) && (row.mark === "study" || asked(row)));
  const here = everything.filter(inTask);
  const colours = studyOnly ? "" : " Filled: runs of this page; hollow grey: the study's models.";
  const about = `${state.task === null ? "Every task" : capital(readable(state.task))}; ${data.boundaries[state.boundary]}.${colours}`;
  const scored = here.filter((row) => row.quality !== null), metrics = distinct(scored.map((row) => row.quality_metric));
  const made = [studyOnly && state.task === null ? null : byTask(everything)];
  made.push(against(here.filter((row) => row.parameters), "Energy against parameters", "parameters, log", (row) => row.parameters, true));
  made.push(pareto(here.filter((row) => row.latency_s), about));
  made.push(batches(here.filter((row) => row.batch_size && row.mark !== "study")));
  made.push(general(everything));
  if (metrics.length === 1) made.push(against(scored, "Quality against energy", `${metrics[0]} (as given by the user)`, (row) => row.quality, false));
  figures.replaceChildren(...made.filter(Boolean).map((options) => plot(width, options)));
  if (metrics.length > 1) figures.append(h("p", { class: "note" }, `Quality against energy is not drawn: the scores here are of ${metrics.length} metrics (${metrics.join(", ")}), which share no axis. Choose one task.`));

  function against(found, title, label, of, log) {
    if (found.length < 2) return null;
    const order = [...found].sort((a, b) => of(a) - of(b));
    const shown = (value) => (log ? sizeText(value) : significant(value));
    const sentence = `${several(found.length, "point")}, ${shown(of(order[0]))} to ${shown(of(order[order.length - 1]))}: ${order[0].model} takes ${significant(kwh(order[0]))} kWh per 1,000, ${order[order.length - 1].model} ${significant(kwh(order[order.length - 1]))}. ${about}`;
    return { title, sentence, x: { label, log, text: log ? sizeText : null }, y: ENERGY, points: found.map(point(of, kwh)), columns: [...COLUMNS, [label, (p) => shown(of(p.row))]] };
  }
}
function byTask(found) {
  const names = distinct(found.map((row) => row.task));
  if (!names.length) return null;
  const mine = found.filter((row) => !behind(row)), counted = (task) => {
    const all = (mine.some((row) => row.task === task) ? mine : found).filter((row) => row.task === task), made = all.filter((row) => !row.general);
    return made.length ? made : all;
  };
  const middle = (task) => { const all = counted(task).map(kwh).sort((a, b) => a - b), half = all.length / 2; return all.length % 2 ? all[Math.floor(half)] : (all[half - 1] + all[half]) / 2; };
  names.sort((a, b) => middle(a) - middle(b));
  const told = names.filter((task) => mine.some((row) => row.task === task)), [first, last] = [told[0], told[told.length - 1]];
  const sentence = told.length === 0 ? "Only the study's models stand here."
    : told.length === 1 ? `The median of ${studyOnly ? "the study's models" : "the runs of this page"} for ${readable(first)} is ${significant(middle(first))} kWh.`
      : `The median of ${studyOnly ? "the study's models" : "the runs of this page"} is least for ${readable(first)} (${significant(middle(first))} kWh) and most for ${readable(last)} (${significant(middle(last))} kWh).`;
  return { title: "Energy per 1,000 generations by task", y: { names: names.map(readable) }, x: ENERGY,
    sentence: `${sentence}${pooledWords(told.map(counted))} ${capital(data.boundaries[state.boundary])}. ${studyOnly ? "" : "Filled: runs of this page; hollow grey: the study's models. "}Diamonds: general models that were asked by a prompt, not counted in the median where others are there.`,
    points: found.map(point(kwh, (row) => names.indexOf(row.task))), columns: [["task", (p) => p.row.task], ...COLUMNS] };
}
function frontOf(found) {
  const front = [];
  for (const row of [...found].sort((a, b) => a.latency_s - b.latency_s || kwh(a) - kwh(b))) {
    if (!front.length || kwh(row) < kwh(front[front.length - 1])) front.push(row);
  }
  return front;
}
function pareto(found, about) {
  if (found.length < 2) return null;
  const groups = groupsOf(found).filter((group) => group.length > 1), fronts = groups.map(frontOf), on = new Set(fronts.flat());
  const points = found.map(point((row) => row.latency_s, kwh)).map((p) => ({ ...p, front: on.has(p.row) }));
  const first = fronts[groups.findIndex((group) => !behind(group[0]))] ?? fronts[0];
  const words = !first ? "No two rows share task, GPU, origin, length of answer and prompts, so that there is no front."
    : `Ringed, and joined by a line: nothing of its own group is both faster and thriftier (the Pareto front). ${fronts.length > 1 ? `${fronts.length} groups, each with its own front; of the largest` : "There"}${first[0].mark ? `, ${first[0].mark}` : ""}: ${first.slice(0, 4).map((row) => `${row.model}, ${row.load}`).join("; ")}${first.length > 4 ? ` and ${first.length - 4} more` : ""}.`;
  return { title: "Energy against latency", x: { label: "latency of a batch, s, log", log: true }, y: ENERGY, points,
    paths: fronts.filter((front) => front.length > 1).map((front) => ({ kind: `front${behind(front[0]) ? " study" : ""}`, points: front.map((row) => ({ x: row.latency_s, y: kwh(row) })) })),
    sentence: `${words} ${about}`,
    columns: [...COLUMNS, ["latency", (p) => duration(p.row.latency_s)], ["on its group's front", (p) => (p.front ? "yes" : "no")]] };
}
function batches(found) {
  const lines = new Map();
  for (const row of found) {
    const key = JSON.stringify([row.campaign, row.task, row.model, row.dtype, row.gpu, row.boundary, row.work, row.prompts, row.mark]);
    lines.set(key, [...(lines.get(key) ?? []), row]);
  }
  const swept = [...lines.values()].filter((line) => distinct(line.map((row) => row.batch_size)).length > 1)
    .map((line) => line.sort((a, b) => a.batch_size - b.batch_size));
  if (!swept.length) return null;
  const best = swept.map((line) => line.reduce((a, b) => (kwh(a) <= kwh(b) ? a : b)));
  return { title: "Energy against batch size", x: { label: "batch size, log", log: true }, y: ENERGY,
    points: swept.flat().map(point((row) => row.batch_size, kwh)), paths: swept.map((line) => ({ kind: "sweep", points: line.map((row) => ({ x: row.batch_size, y: kwh(row) })) })),
    sentence: `${several(swept.length, "model")} at two sizes or more. Least: ${best.slice(0, 4).map((row) => `${row.model} (${row.dtype}) at ${row.load}`).join("; ")}.`, columns: COLUMNS };
}
function general(everything) {
  const both = distinct(everything.map((row) => row.task)).filter((task) => [true, false].every((wanted) => everything.some((row) => row.task === task && row.general === wanted)));
  if (!both.length) return null;
  const found = everything.filter((row) => both.includes(row.task) && row.general !== null);
  const mean = (all) => all.reduce((sum, row) => sum + kwh(row), 0) / all.length;
  const words = both.map((task) => {
    const told = groupsOf(found.filter((row) => row.task === task)).map((group) => [group.filter((row) => row.general), group.filter((row) => !row.general)]).filter(([one, two]) => one.length && two.length)
      .map(([asked, made]) => `${significant(mean(asked) / mean(made), 2)} times as much as those made for it (${[made[0].mark === "study" ? "the study" : made[0].mark || "measured", made[0].mark !== "study" && made[0].prompts].filter(Boolean).join(", ")}: means of ${asked.length} and ${made.length})`);
    return told.length ? `For ${readable(task)} general models take ${told.slice(0, 3).join("; ")}` : `For ${readable(task)} no two of them share GPU, origin, prompts and length of answer`;
  });
  const names = both.flatMap((task) => [readable(task), "general models"]);
  return { title: "General-purpose against task-specific", y: { names }, x: ENERGY,
    sentence: `${words.join(". ")}. ${capital(data.boundaries[state.boundary])}. Under each task, diamonds: general models, asked by a prompt.`,
    points: found.map(point(kwh, (row) => 2 * both.indexOf(row.task) + (row.general ? 1 : 0))), columns: [["task", (p) => p.row.task], ["kind", (p) => (p.row.general ? "general, asked by a prompt" : "made for the task")], ...COLUMNS] };
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
