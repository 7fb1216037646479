const tints = { interp: "--interp", quick: "--quick", full: "--full", tiered: "--emit", native: "--host" };
const colour = (contender) => `var(${tints[contender] ?? "--compile"})`;

function drawWall() {
  const box = byId("wall");
  const width = widthOf(box), left = 90, right = width - 80, rowHeight = 30;
  const most = Math.max(...data.contenders.flatMap((c) => c.runs.map((run) => run.wall)), 1e-9);
  const x = (seconds) => left + (seconds / most) * (right - left);
  const svg = element("svg", { viewBox: `0 0 ${width} ${data.contenders.length * rowHeight + 8}`, role: "img", "aria-label": "Wall time" });
  data.contenders.forEach((c, index) => {
    const y = 4 + index * rowHeight;
    svg.append(element("text", { class: "lane-name", x: 4, y: y + 18 }, c.contender));
    svg.append(element("rect", { x: left, y: y + 6, width: Math.max(1, x(c.wall.median) - left), height: 16, fill: colour(c.contender) }));
    svg.append(element("line", { x1: x(c.wall.low), x2: x(c.wall.high), y1: y + 14, y2: y + 14, stroke: "currentColor", "stroke-width": 2 }));
    for (const run of c.runs) {
      const dot = element("circle", { cx: x(run.wall), cy: y + 14, r: 2.5, fill: "currentColor" });
      dot.append(element("title", {}, time(run.wall)));
      svg.append(dot);
    }
    svg.append(element("text", { x: x(Math.max(c.wall.high, c.wall.median)) + 8, y: y + 18 }, time(c.wall.median)));
  });
  box.replaceChildren(svg);
}

function drawCurves() {
  const series = data.contenders.map((c) => {
    const runs = c.runs.map((run) => run.times ?? []).filter((times) => times.length);
    if (!runs.length) return { contender: c.contender, points: [] };
    const count = Math.min(...runs.map((times) => times.length));
    /* Positions that are even on a logarithmic axis are enough. */
    const places = new Set();
    for (let i = 0; i <= 600; i++) places.add(Math.round(count ** (i / 600)) - 1);
    return { contender: c.contender, points: [...places].filter((i) => i < count).map((i) => [i + 1, median(runs.map((times) => times[i]))]) };
  }).filter((one) => one.points.length);
  if (!series.length) return;
  byId("curves-section").hidden = false;
  const box = byId("curves");
  const width = widthOf(box), left = 66, right = width - 10, top = 8, bottom = 300;
  const svg = element("svg", { viewBox: `0 0 ${width} ${bottom + 26}`, role: "img", "aria-label": "Warm-up curves" });
  const all = series.flatMap((one) => one.points);
  const [low, high] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))].map((v) => Math.log10(Math.max(v, 1e-9)));
  const last = Math.log10(Math.max(2, ...all.map((p) => p[0])));
  const x = (i) => left + (Math.log10(i) / last) * (right - left);
  const y = (s) => bottom - ((Math.log10(Math.max(s, 1e-9)) - low) / (high - low || 1)) * (bottom - top);
  for (let power = Math.ceil(low - 1e-9); power <= high; power++) {
    svg.append(element("line", { class: "axis", x1: left, x2: right, y1: y(10 ** power), y2: y(10 ** power) }));
    svg.append(element("text", { x: left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, time(10 ** power)));
  }
  for (let power = 0; power <= last; power++) {
    svg.append(element("line", { class: "axis", x1: x(10 ** power), x2: x(10 ** power), y1: top, y2: bottom }));
    svg.append(element("text", { x: x(10 ** power), y: bottom + 16, "text-anchor": "middle" }, `${10 ** power}`));
  }
  for (const { contender, points } of series) {
    const path = points.map(([i, s]) => `${x(i).toFixed(1)},${y(s).toFixed(1)}`).join("L");
    svg.append(element("path", { d: `M${path}`, fill: "none", stroke: colour(contender), "stroke-width": 1.8 }));
  }
  box.replaceChildren(svg);
  byId("legend").replaceChildren(...series.map(({ contender }) => element("span", {}, element("i", { style: `background:${colour(contender)}` }), contender)));
}

function drawTables() {
  const interval = (s) => `${time(s.low)} to ${time(s.high)}`;
  fill("figures", ["", "wall", "interval", "ratio", "cpu", "compile", "peak memory", "output"], data.contenders.map((c) =>
    [c.contender, time(c.wall.median), interval(c.wall), c.ratio.toFixed(2), time(c.cpu.median), c.compile ? time(c.compile.median) : "-",
      `${(c.peak_memory_bytes.median / 2 ** 20).toFixed(1)} MiB`, c.same_output ? "same" : "other"]));
  const steady = data.contenders.filter((c) => c.iterations);
  if (!steady.length) return;
  byId("steady-section").hidden = false;
  fill("steady", ["", "steady state", "interval", "warm-up", "to 90 % of peak", "class (runs)"], steady.map((c) =>
    [c.contender, time(c.iterations.steady.median), interval(c.iterations.steady), time(c.iterations.warm_up.median), time(c.iterations.to_90_percent.median),
      Object.entries(c.iterations.classes).map(([name, runs]) => `${name} (${runs})`).join(", ")]));
}

byId("title").textContent = [data.program, ...data.arguments].join(" ");
const runs = data.contenders.length ? data.contenders[0].runs.length : 0;
byId("subtitle").textContent = (data.invoke ? `iterations of ${data.invoke}, ` : "") + `${runs} runs of each, in turns, on ${data.processors} processors`;
byId("producer").textContent = `Made by updraft ${data.version}`;
drawWall();
drawTables();
drawCurves();
document.body.dataset.drawn = "yes";
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  drawWall();
  drawCurves();
});
