const { report, targets, losses, ratios } = data;
/* Updraft's strategies have the colours of their tiers; peers take the others in turn, and native code is grey. */
const fixed = { "updraft tiered": "--emit", "updraft full": "--full", "updraft quick": "--quick", "updraft interp": "--interp", native: "--wait" };
const free = ["--compile", "--host", "--translate", "--link", "--optimise"];
const peers = report.contenders.map((one) => one.name).filter((name) => !(name in fixed));
const colour = (name) => `var(${fixed[name] ?? free[peers.indexOf(name) % free.length]})`;
/* Peers that share a colour differ in their dashes. */
const dashes = (name) => (name in fixed ? "" : ["", "6 3", "2 3"][Math.floor(peers.indexOf(name) / free.length) % 3]);

function shown(unit, value) {
  return unit === "bytes" ? `${(value / 2 ** 20).toFixed(1)} MiB` : time(value);
}

function drawBars(box, part) {
  const bars = part.rows.map((row, index) => ({ name: row.contender, ratio: ratios[part.id][index] })).filter((bar) => bar.ratio);
  if (!bars.length) return;
  const width = widthOf(box), left = 120, right = width - 64, rowHeight = 24;
  const [low, high] = [Math.min(1, ...bars.map((bar) => bar.ratio)) * 0.8, Math.max(2, ...bars.map((bar) => bar.ratio))].map(Math.log10);
  const x = (ratio) => left + ((Math.log10(ratio) - low) / (high - low)) * (right - left);
  const bottom = bars.length * rowHeight + 4;
  const svg = element("svg", { viewBox: `0 0 ${width} ${bottom + 20}`, role: "img", "aria-label": part.title });
  for (let power = Math.ceil(low); power <= high; power++) {
    const at = x(10 ** power);
    svg.append(element("line", { class: "axis", x1: at, x2: at, y1: 0, y2: bottom }));
    svg.append(element("text", { x: at, y: bottom + 14, "text-anchor": "middle" }, `${10 ** power}`));
  }
  bars.forEach(({ name, ratio }, index) => {
    const y = 4 + index * rowHeight;
    svg.append(element("text", { class: "lane-name", x: 4, y: y + 14 }, name));
    svg.append(element("rect", { x: left, y: y + 3, width: Math.max(1, x(ratio) - left), height: 14, fill: colour(name) }));
    svg.append(element("text", { x: x(ratio) + 6, y: y + 14 }, ratio.toFixed(2)));
  });
  box.replaceChildren(svg);
}

function drawLines(box, part, series) {
  const lines = part.rows.map((row) => ({
    name: row.contender,
    points: part.cases.map((one, index) => [one, row.cells[index].figure]).filter(([one, figure]) => one.series === series && figure).map(([one, figure]) => [one.at, figure.median]),
  })).filter((line) => line.points.length);
  if (!lines.length) return;
  const width = widthOf(box), left = 66, right = width - 14, top = 10, bottom = 280;
  const all = lines.flatMap((line) => line.points);
  const range = (index) => [Math.min(...all.map((p) => p[index])), Math.max(...all.map((p) => p[index]))].map(Math.log10);
  const [[x0, x1], [y0, y1]] = [range(0), range(1)];
  const x = (v) => left + ((Math.log10(v) - x0) / (x1 - x0 || 1)) * (right - left);
  const y = (v) => bottom - ((Math.log10(v) - y0) / (y1 - y0 || 1)) * (bottom - top);
  const svg = element("svg", { viewBox: `0 0 ${width} ${bottom + 26}`, role: "img", "aria-label": `${part.title}: ${series}` });
  for (let power = Math.ceil(y0 - 1e-9); power <= y1; power++) {
    svg.append(element("line", { class: "axis", x1: left, x2: right, y1: y(10 ** power), y2: y(10 ** power) }));
    svg.append(element("text", { x: left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, time(10 ** power)));
  }
  for (const at of new Set(all.map((p) => p[0]))) {
    svg.append(element("line", { class: "axis", x1: x(at), x2: x(at), y1: top, y2: bottom }));
    svg.append(element("text", { x: x(at), y: bottom + 16, "text-anchor": "middle" }, part.id === "threads" ? `${at}` : time(at)));
  }
  for (const { name, points } of lines) {
    const path = points.map(([a, v]) => `${x(a).toFixed(1)},${y(v).toFixed(1)}`).join("L");
    svg.append(element("path", { d: `M${path}`, fill: "none", stroke: colour(name), "stroke-width": 2, "stroke-dasharray": dashes(name) }));
    for (const [a, v] of points) {
      const dot = element("circle", { cx: x(a), cy: y(v), r: 3, fill: colour(name) });
      dot.append(element("title", {}, `${name}: ${time(v)}`));
      svg.append(dot);
    }
  }
  box.replaceChildren(svg);
}

const charts = [];

function addChart(section, draw) {
  const box = element("div", { class: "chart" });
  section.append(box);
  charts.push(() => draw(box));
}

function addPart(part) {
  const section = element("section", {}, element("h2", {}, part.title), element("p", { class: "soft" }, part.note));
  byId("parts").append(section);
  if (part.plot === "lines") {
    const keys = part.rows.map((row) => element("span", {}, element("i", { style: `background:${colour(row.contender)}` }), row.contender));
    section.append(element("div", { class: "legend" }, ...keys));
    for (const series of new Set(part.cases.map((one) => one.series))) {
      section.append(element("h3", {}, series));
      addChart(section, (box) => drawLines(box, part, series));
    }
    section.append(element("p", { class: "soft" }, "Both axes are logarithmic."));
  } else {
    addChart(section, (box) => drawBars(box, part));
    const mean = part.cases.length > 1 ? "Geometric means of all cases, relative to the first; the axis is logarithmic." : "Relative to the first; the axis is logarithmic.";
    section.append(element("p", { class: "soft" }, mean));
  }
  const rows = part.cases.map((one, index) => {
    const cells = part.rows.map((row) => row.cells[index]);
    const best = Math.min(...part.rows.map((row, i) => (row.contender === "native" ? Infinity : cells[i].figure?.median ?? Infinity)));
    return element("tr", {}, element("td", {}, one.name), ...cells.map((cell) => {
      if (!cell.figure) return element("td", { class: "soft", title: cell.reason ?? "" }, "-");
      const text = shown(part.unit, cell.figure.median);
      const title = `${shown(part.unit, cell.figure.low)} to ${shown(part.unit, cell.figure.high)}, ${cell.values.length} runs`;
      return element("td", { title }, cell.figure.median === best ? element("b", {}, text) : text);
    }));
  });
  if (part.cases.length > 1) {
    rows.push(element("tr", {}, element("td", {}, "geometric mean"), ...ratios[part.id].map((ratio) => element("td", {}, ratio ? ratio.toFixed(2) : "-"))));
  }
  const head = element("tr", {}, ...["", ...part.rows.map((row) => row.contender)].map((text) => element("th", {}, text)));
  section.append(element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
  const reasons = new Map();
  for (const row of part.rows) {
    row.cells.forEach((cell, index) => {
      if (!cell.reason) return;
      const key = `${row.contender}: ${cell.reason}`;
      reasons.set(key, [...(reasons.get(key) ?? []), part.cases[index].name]);
    });
  }
  if (reasons.size) {
    section.append(element("ul", { class: "soft" }, ...[...reasons].map(([reason, cases]) => element("li", {}, `${reason} (${cases.join(", ")})`))));
  }
}

const machine = report.machine;
byId("subtitle").textContent = `${data.date}; ${machine.processor}, ${machine.processors} processors, ${Math.round(machine.memory_bytes / 2 ** 30)} GiB; ${machine.system}`;
byId("producer").textContent = `Made by updraft compare ${report.flags.join(" ")} (${report.version})`;
fill("targets", ["target", "measured", ""], targets.map((t) => [t.what, t.measured ?? "-", t.reached === null ? "not measured" : t.reached ? "reached" : "missed"]));
byId("losses-section").hidden = losses.length === 0;
fill("losses", ["what", "case", "Updraft", "best peer", "times as much"], losses.map((l) => [l.part, l.case, l.ours.replace("updraft ", ""), l.best, l.ratio.toFixed(2)]));
fill("contenders", ["contender", "version"], [...report.contenders.map((c) => [c.name, c.version]), ...report.left_out.map(([name, reason]) => [name, `left out: ${reason}`])]);
report.parts.forEach(addPart);
for (const draw of charts) draw();
document.body.dataset.drawn = "yes";
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  for (const draw of charts) draw();
});
