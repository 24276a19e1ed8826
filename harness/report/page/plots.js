// Scatter plots drawn as SVG, each with a sentence that tells what it shows and the same numbers as a table.
const MANY = 300; // points from which on they are one path, without a link each
const LISTED = 200;

function ticks(low, high, log) {
  const found = [];
  if (log) {
    const decades = Math.log10(high / low);
    for (let size = Math.floor(Math.log10(low)); size <= Math.ceil(Math.log10(high)); size += decades > 7 ? 2 : 1) {
      for (const first of decades < 1.2 ? [1, 2, 3, 5, 7] : decades < 2.5 ? [1, 3] : [1]) found.push(first * 10 ** size);
    }
  } else {
    const rough = (high - low) / 5 || 1;
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((each) => each * size >= rough) * size;
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(Number(value.toPrecision(12)));
  }
  return found.filter((value) => value >= low && value <= high);
}
function tickText(value) {
  if (value >= 1e9) return `${value / 1e9}B`;
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1e4) return `${value / 1e3}k`;
  return value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(0).replace("e-", "e−") : String(Number(value.toPrecision(3)));
}
function scale(values, log, from, to) {
  let low = Math.min(...extremes(values)), high = Math.max(...extremes(values));
  if (log) { low /= 1.35; high *= 1.35; }
  else { const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1; low = low >= 0 ? Math.max(0, low - room) : low - room; high += room; }
  const place = (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  return { low, high, log, at: (value) => from + place(value) * (to - from) };
}
function extremes(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}
// x, y: {label, log, names}. points: {x, y, low, high, row, kind, shape}, low and high of the energy, which is y, or x
// where y has names. paths: {points, kind}. columns: [name, text of a point] for the table of the numbers.
function plot(width, { title, sentence, x, y, points, paths = [], columns }) {
  const names = y.names;
  const left = names ? Math.min(width * 0.5, 12 + 6.9 * Math.max(...names.map((name) => name.length))) : 66, right = 14, top = 12, bottom = 46;
  const height = names ? top + bottom + names.length * 34 : Math.min(380, Math.max(260, width * 0.6));
  const energies = (of) => points.flatMap((p) => [p[of], p.low, p.high]).filter((value) => value !== null && value > 0);
  const across = scale(names ? energies("x") : points.map((p) => p.x), x.log, left, width - right);
  const down = names ? { at: (v) => top + 17 + v * 34 } : scale(energies("y"), y.log, height - bottom, top);
  const grid = [];
  const wide = Math.max(1, Math.ceil(ticks(across.low, across.high, x.log).length / Math.max(1, (width - left - right) / 50)));
  ticks(across.low, across.high, x.log).forEach((value, index) => {
    if (index % wide) return;
    const place = across.at(value);
    grid.push(svg("line", { class: "grid", x1: place, x2: place, y1: top, y2: height - bottom }),
      svg("text", { class: "tick", x: place, y: height - bottom + 16, "text-anchor": "middle" }, (x.text ?? tickText)(value)));
  });
  if (names) {
    names.forEach((name, index) => grid.push(
      svg("line", { class: "grid faint", x1: left, x2: width - right, y1: down.at(index), y2: down.at(index) }),
      svg("text", { class: "tick", x: left - 8, y: down.at(index) + 4, "text-anchor": "end" }, name)));
  } else {
    for (const value of ticks(down.low, down.high, y.log)) {
      grid.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: down.at(value), y2: down.at(value) }),
        svg("text", { class: "tick", x: left - 8, y: down.at(value) + 4, "text-anchor": "end" }, tickText(value)));
    }
    grid.push(svg("text", { class: "axis", transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  }
  grid.push(svg("text", { class: "axis", x: width - right, y: height - 8, "text-anchor": "end" }, x.label));
  const lines = paths.map((path) => svg("path", { class: `line ${path.kind}`, d: path.points.map((p, index) => `${index ? "L" : "M"}${across.at(p.x).toFixed(1)} ${down.at(p.y).toFixed(1)}`).join("") }));
  const whose = distinct(points.map((p) => p.row.mark)).filter(Boolean).map((mark) => ({ mark }));
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}${whose.length ? ` (${whose.map((row) => row.mark).join(", ")})` : ""}. ${sentence}` },
    grid, lines, marks(points, across, down, names));
  return h("figure", { class: "plot" }, h("figcaption", {}, h("h3", {}, title, whose.map((row) => [" ", badge(row)])), h("p", {}, sentence)), drawn, tableOf(points, columns, title));
}
function marks(points, across, down, names) {
  const shape = (p, size) => {
    const cx = across.at(p.x), cy = down.at(p.y);
    return p.shape === "diamond"
      ? `M${cx} ${cy - size - 1}L${cx + size + 1} ${cy}L${cx} ${cy + size + 1}L${cx - size - 1} ${cy}Z`
      : `M${cx - size} ${cy}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0Z`;
  };
  const mine = points.filter((p) => p.kind !== "study"), theirs = points.filter((p) => p.kind === "study");
  const found = [theirs.length > 0 && svg("path", { class: "dot study", d: theirs.map((p) => shape(p, 3.5)).join("") }),
    svg("path", { class: "ring study", d: theirs.filter((p) => p.front).map((p) => shape(p, 6.5)).join("") })];
  const whiskerOf = (p) => (names ? [across.at(p.low), down.at(p.y), across.at(p.high), down.at(p.y)] : [across.at(p.x), down.at(p.low), across.at(p.x), down.at(p.high)]);
  const known = (p) => p.low !== null && p.low > 0;
  if (mine.length > MANY) return [...found, svg("path", { class: "whisker", d: mine.filter(known).map(whiskerOf).map(([x1, y1, x2, y2]) => `M${x1} ${y1}L${x2} ${y2}`).join("") }), svg("path", { class: "dot own", d: mine.map((p) => shape(p, 2.5)).join("") }), svg("path", { class: "ring", d: mine.filter((p) => p.front).map((p) => shape(p, 5)).join("") })];
  for (const p of mine) {
    const whole = [];
    if (known(p)) {
      const [x1, y1, x2, y2] = whiskerOf(p);
      whole.push(svg("line", { class: "whisker", x1, y1, x2, y2 }));
    }
    if (p.front) whole.push(svg("path", { class: "ring", d: shape(p, 8) }));
    whole.push(svg("path", { class: "dot own", d: shape(p, 4.5) }), svg("title", {}, `${p.row.model}, ${p.row.load}${p.row.mark ? `, ${p.row.mark}` : ""}`));
    found.push(data.details[p.row.index] ? svg("a", { href: `#${encodeURIComponent(anchor(p.row))}`, tabindex: "-1" }, whole) : svg("g", {}, whole));
  }
  return found;
}
// The numbers of a plot; made when it is opened.
function tableOf(points, columns, title) {
  const holder = h("details", { class: "numbers" }, h("summary", {}, "The numbers of this plot"));
  holder.addEventListener("toggle", () => {
    if (holder.children.length > 1) return;
    const shown = points.slice(0, LISTED);
    holder.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers: ${title}` }, h("table", {},
      h("thead", {}, h("tr", {}, ["model", ...columns.map(([name]) => name)].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, shown.map((p) => h("tr", {}, h("th", { scope: "row" }, runLink(p.row), " ", badge(p.row)), columns.map(([, of]) => h("td", {}, of(p)))))))));
    if (points.length > shown.length) holder.append(h("p", {}, `The first ${LISTED} of ${several(points.length, "point")}.`));
  });
  return holder;
}
