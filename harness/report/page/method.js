// What was left out and why, how the numbers were made, and every factor with its source.
const LISTED_REASONS = 200;

function rangeOf(used) {
  if (used.low === null && used.high === null) return "";
  return ` (${used.low ?? "?"} to ${used.high ?? "?"})`;
}
function sourceOf(used) {
  const link = used.url && /^https?:/.test(used.url) ? [" ", h("a", { href: used.url, rel: "noopener noreferrer" }, "source")] : used.url ? ` ${used.url}` : "";
  return [`${used.edition}, ${used.shown} ${used.unit}${rangeOf(used)}${used.year ? `, ${used.year}` : ""}; ${used.scope}. ${used.source} [${used.checked}].`, link, used.note ? ` ${used.note}` : ""];
}
const isSentence = (why) => why[0] === why[0]?.toUpperCase();
function drawMissing() {
  const loads = own.filter((row) => row.left_out !== null && row.task === "calibration");
  const out = [...data.unreadable, ...own.filter((row) => row.left_out !== null && !loads.includes(row)).map((row) => [row, row.left_out])];
  if (loads.length > 0) out.push([several(loads.length, "calibration"), loads[loads.length - 1].left_out]);
  const list = (lines) => [h("ul", { class: "reasons" }, lines.slice(0, LISTED_REASONS).map(([what, why]) => h("li", {}, h("b", {}, typeof what === "string" ? (isSentence(why) ? `${what.replace(/[.]$/, "")}.` : what) : runLink(what, `${what.model}, ${what.load} (${what.run_id})`)), `${typeof what === "string" && isSentence(why) ? " " : ": "}${why}`))),
    lines.length > LISTED_REASONS && h("p", {}, `And ${(lines.length - LISTED_REASONS).toLocaleString("en")} more.`)];
  fill("missing", out.length === 0 ? h("p", {}, "Nothing: every record that was found is on this page.")
    : [h("p", {}, `${several(out.length, "record")} ${out.length === 1 ? "is" : "are"} in no ranking and no plot:`), list(out)],
  Object.entries(data.aside).map(([heading, lines]) => [h("h3", {}, heading), list(lines)]));
}
function drawMethod() {
  const definitions = [
    ["Energy", "Gross, per 1,000 generations: what the GPUs that ran the model drew while they ran it, from one increment of their energy counter to another, less what the window's own edges and pauses drew. A generation is one request: one answer, one classified text, one image."],
    ["Boundaries", h("ul", {}, boundaries.map((name) => h("li", {}, data.boundaries[name])))],
    ["Interval", "95 %: the scatter of the repeats together with what repeats cannot show, above all the gain of the board's sensor, which is common to all runs on a board and never divided by the number of repeats. Between two runs on one board it mostly cancels, so that two runs may be told apart though their intervals overlap: the ratio on top of the page has its own interval, as harness compare finds it."],
    ["Left out", "Windows that something else disturbed are kept in the record and left out of the figure, with the reason. What weakens a number without voiding it is a caveat and stands beside it."],
    ["The study", [h("a", { href: data.paper_url, rel: "noopener noreferrer" }, data.paper), `. Its figures are of a node of 8 x A100-SXM4-80GB, batch 1, as CodeCarbon metered it; what the one GPU that worked drew is estimated from them. They are a backdrop, not runs of this page's author.`]],
    ["Made by", `Energy Harness ${data.version}; records of schema version ${data.schema_version}. The whole method, with formulae and sources: harness/METHOD.md of that version.`],
  ];
  const environments = data.environments.map((each, place) => h("details", {}, h("summary", {}, `Environment ${place + 1}: ${[each.cpu_model, each.platform, each.driver && `driver ${each.driver}`].filter(Boolean).join(", ")}`), h("pre", { tabindex: "0" }, JSON.stringify(each, null, 1))));
  fill("told", h("dl", { class: "method" }, definitions.map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)])),
    h("h3", {}, "Environments"), environments.length ? environments : h("p", {}, "None is recorded on this page."),
    h("h3", { id: "factors", tabindex: "-1" }, "Factors and their sources"), h("ul", { class: "sources" }, Object.values(data.used).map((used) => h("li", {}, h("b", {}, `${used.kind}: `), sourceOf(used)))),
    h("p", {}, "Ranges in brackets are the sources' own; where there is none, none is known, which does not make the factor exact."));
}
