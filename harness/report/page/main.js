// The first drawing, and what is drawn again when the reader chooses otherwise.
function redraw() {
  drawTasks(); drawHero(); drawRanking(); drawFigures(); drawBands(); drawCalculator();
}
if (studyOnly) {
  state.study = true;
  if (boundaries.includes("node_as_study")) state.boundary = "node_as_study"; // what the study printed
}
const count = (task) => rows.filter((row) => row.task === task && (row.mark === "study") === state.study).length;
state.task = studyOnly && tasks.length > 1 ? null : [...tasks].sort((a, b) => count(b) - count(a))[0] ?? null;
drawLead(); drawFilters(); drawRuns(); drawMissing(); drawMethod(); redraw(); openNamed();
addEventListener("hashchange", openNamed);
let lastWidth = innerWidth;
addEventListener("resize", () => { if (innerWidth !== lastWidth) { lastWidth = innerWidth; drawFigures(); } });
document.documentElement.dataset.ready = "yes";
