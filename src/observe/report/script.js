"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const doings = ["interp", "quick", "full", "host", "wait", "compile"];
const labels = { interp: "interpreter", quick: "quick code", full: "full code", host: "host function", wait: "wait", compile: "waiting for a compile",
  translate: "translate", optimise: "optimise", emit: "emit", link: "link" };
const byId = (id) => document.getElementById(id);
const colour = (name) => `var(--${name})`;

function element(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "path", "g", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function time(us) {
  if (us >= 1e6) return `${(us / 1e6).toFixed(us >= 1e7 ? 1 : 2)} s`;
  if (us >= 1e3) return `${(us / 1e3).toFixed(us >= 1e5 ? 0 : 1)} ms`;
  return `${us.toFixed(0)} µs`;
}

function bytes(count) {
  if (count >= 2 ** 20) return `${(count / 2 ** 20).toFixed(1)} MiB`;
  if (count >= 2 ** 10) return `${(count / 2 ** 10).toFixed(1)} KiB`;
  return `${count} B`;
}

const whole = (value) => Math.round(value).toLocaleString("en");

/* Ticks at round numbers. */
function ticks(from, to, wanted) {
  const raw = (to - from) / wanted || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * unit).find((s) => s >= raw);
  const list = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) list.push(at);
  return list;
}

function timeAxis(svg, from, to, left, right, top, bottom) {
  const x = (us) => left + ((us - from) / (to - from)) * (right - left);
  for (const at of ticks(from, to, right - left > 500 ? 8 : 4)) {
    svg.append(element("line", { class: "axis", x1: x(at), x2: x(at), y1: top, y2: bottom }));
    svg.append(element("text", { x: x(at), y: bottom + 14, "text-anchor": "middle" }, time(at)));
  }
  return x;
}

const chartWidth = (box) => Math.max(320, box.clientWidth - 16);

/* What a thread did in each of `columns` equal parts of a time: the index of what it did longest, or -1. */
function bins(spans, from, to, columns) {
  const width = (to - from) / columns;
  const sums = Array.from({ length: columns }, () => null);
  for (const [doing, begin, end] of spans) {
    if (end < from || begin > to) continue;
    const first = Math.max(0, Math.floor((begin - from) / width));
    const last = Math.min(columns - 1, Math.floor((end - from) / width));
    for (let i = first; i <= last; i++) {
      sums[i] ??= new Float64Array(doings.length);
      sums[i][doing] += Math.min(end, from + (i + 1) * width) - Math.max(begin, from + i * width) + 1e-3;
    }
  }
  return sums.map((sum) => (sum ? sum.indexOf(Math.max(...sum)) : -1));
}

let view = [0, data.duration];
const mostLanes = 64;

function drawTimeline() {
  const box = byId("timeline");
  const width = chartWidth(box);
  const left = Math.min(130, width * 0.26), right = width - 8, rowHeight = 22, top = 6;
  const shown = data.threads.slice(0, mostLanes);
  const rows = shown.length + data.compilers.length;
  const bottom = top + rows * rowHeight;
  const svg = element("svg", { viewBox: `0 0 ${width} ${bottom + 22}`, role: "img", "aria-label": "Time line of threads and compiles" });
  const [from, to] = view;
  const x = timeAxis(svg, from, to, left, right, top, bottom);
  const clip = (us) => Math.min(right, Math.max(left, x(us)));
  const columns = Math.max(10, Math.floor((right - left) / 2));
  let y = top;
  const bar = (name, begin, end, height, offset, title) => {
    const rect = element("rect", { x: clip(begin), y: y + offset, height, fill: colour(name), width: Math.max(0.6, clip(end) - clip(begin)) });
    if (title) rect.append(element("title", {}, title));
    svg.append(rect);
  };
  for (const thread of shown) {
    svg.append(element("text", { class: "lane-name", x: 4, y: y + 15 }, thread.name));
    const found = bins(thread.spans, from, to, columns);
    for (let i = 0; i < columns; ) {
      let next = i + 1;
      while (next < columns && found[next] === found[i]) next++;
      if (found[i] >= 0) {
        const at = (column) => from + ((to - from) * column) / columns;
        const name = doings[found[i]];
        bar(name, at(i), at(next), 16, 3, `${thread.name}: ${labels[name]}, ${time(at(i))} to ${time(at(next))}`);
      }
      i = next;
    }
    y += rowHeight;
  }
  for (const compiler of data.compilers) {
    svg.append(element("text", { class: "lane-name", x: 4, y: y + 15 }, compiler.name));
    for (const compile of compiler.compiles) {
      if (compile.end < from || compile.begin > to) continue;
      const title = `${compile.name}: ${time(compile.end - compile.begin)}` + (compile.bytes ? `, ${bytes(compile.bytes)}` : "");
      bar(compile.tier, compile.begin, compile.end, 7, 3, title);
      for (const [step, begin, end] of compile.steps) {
        if (end >= from && begin <= to) bar(step, begin, end, 8, 11, `${step} of ${compile.name}: ${time(end - begin)}`);
      }
    }
    y += rowHeight;
  }
  let start = null, mark = null;
  const place = (event) => {
    const area = svg.getBoundingClientRect();
    const at = Math.min(right, Math.max(left, ((event.clientX - area.left) / area.width) * width));
    return [at, from + ((at - left) / (right - left)) * (to - from)];
  };
  svg.addEventListener("pointerdown", (event) => {
    start = place(event);
    mark = element("rect", { y: top, height: bottom - top, x: start[0], width: 0, fill: "currentColor", opacity: 0.15 });
    svg.append(mark);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [at] = place(event);
    mark.setAttribute("x", Math.min(at, start[0]));
    mark.setAttribute("width", Math.abs(at - start[0]));
  });
  svg.addEventListener("pointerup", (event) => {
    if (!start) return;
    const end = place(event);
    if (Math.abs(end[0] - start[0]) > 5) view = [Math.min(start[1], end[1]), Math.max(start[1], end[1])];
    start = null;
    drawTimeline();
  });
  box.replaceChildren(svg);
  const more = data.threads.length - shown.length;
  byId("window").textContent = `${time(from)} to ${time(to)}` + (more > 0 ? `; the first ${shown.length} threads, ${whole(more)} more below` : "");
}

/* Sums of the shares over `columns` equal parts of the run. */
function shareColumns(columns) {
  const sums = Array.from({ length: columns }, () => new Float64Array(doings.length));
  for (const [at, ...counts] of data.shares) {
    const column = Math.min(columns - 1, Math.floor((at / data.duration) * columns));
    counts.forEach((count, doing) => (sums[column][doing] += count));
  }
  // Where nothing was sampled, the processor was elsewhere: as before.
  for (let i = 1; i < columns; i++) if (!sums[i].some((count) => count)) sums[i] = sums[i - 1];
  return sums;
}

const area = (points, base) => `M${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}L${base}Z`;
const line = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}`;

function frame(box, height, label) {
  const width = chartWidth(box);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height + 26}`, role: "img", "aria-label": label });
  const [left, right, top, bottom] = [46, width - 10, 8, height];
  const x = timeAxis(svg, 0, data.duration, left, right, top, bottom);
  box.replaceChildren(svg);
  return { svg, x, left, right, top, bottom };
}

function percentAxis({ svg, left, right, top, bottom }) {
  const y = (share) => bottom - share * (bottom - top);
  for (const share of [0, 0.5, 1]) {
    svg.append(element("line", { class: "axis", x1: left, x2: right, y1: y(share), y2: y(share) }));
    svg.append(element("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" }, `${share * 100} %`));
  }
  return y;
}

function empty(box, text) {
  box.replaceChildren(element("div", { class: "none" }, text));
}

function drawShares() {
  const box = byId("shares");
  if (!data.shares.length) return empty(box, "The trace has no samples.");
  const chart = frame(box, 190, "Share of time per tier");
  const columns = shareColumns(Math.min(120, Math.max(10, data.shares.length)));
  const y = percentAxis(chart);
  let low = columns.map(() => 0);
  doings.forEach((name, doing) => {
    const high = columns.map((column, i) => low[i] + column[doing] / (column.reduce((a, b) => a + b) || 1));
    const at = (i) => chart.x(((i + 0.5) / columns.length) * data.duration);
    const upper = high.map((share, i) => [at(i), y(share)]);
    const lower = low.map((share, i) => [at(i), y(share)]).reverse();
    const path = element("path", { d: area(upper, line(lower).slice(1)), fill: colour(name) });
    path.append(element("title", {}, labels[name]));
    chart.svg.append(path);
    low = high;
  });
}

function drawWarmup() {
  const box = byId("warmup");
  if (!data.shares.length) return empty(box, "The trace has no samples.");
  const chart = frame(box, 150, "Warm-up curve");
  const y = percentAxis(chart);
  const count = Math.min(120, Math.max(10, data.shares.length));
  const columns = shareColumns(count);
  const reach = Math.max(1, Math.round(count / 40));
  const draw = (name, counted) => {
    const points = [];
    for (let i = 0; i < count; i++) {
      let running = 0, inTier = 0;
      for (let j = Math.max(0, i - reach); j <= Math.min(count - 1, i + reach); j++) {
        running += columns[j][0] + columns[j][1] + columns[j][2];
        inTier += counted(columns[j]);
      }
      if (running > 0) points.push([chart.x(((i + 0.5) / count) * data.duration), y(inTier / running)]);
    }
    if (points.length > 1) chart.svg.append(element("path", { d: line(points), fill: "none", stroke: colour(name), "stroke-width": 2 }));
  };
  draw("quick", (column) => column[1] + column[2]);
  draw("full", (column) => column[2]);
}

function drawCounters() {
  const box = byId("counters");
  const series = [["resident memory", "host", bytes], ["code bytes", "full", bytes], ["compile queue", "compile", whole], ["threads", "interp", whole]];
  box.replaceChildren();
  for (const [name, tint, text] of series) {
    const points = data.counters[name] ?? [];
    if (points.length < 2) continue;
    const part = element("div");
    box.append(part);
    const chart = frame(part, 62, name);
    const most = Math.max(1, ...points.map(([, value]) => value));
    const y = (value) => chart.bottom - (value / most) * (chart.bottom - chart.top - 12);
    const steps = points.flatMap(([at, value], i) => (i ? [[chart.x(at), y(points[i - 1][1])], [chart.x(at), y(value)]] : [[chart.x(at), y(value)]]));
    steps.push([chart.right, y(points[points.length - 1][1])]);
    chart.svg.append(element("path", { d: line(steps), fill: "none", stroke: colour(tint), "stroke-width": 1.6 }));
    chart.svg.append(element("text", { class: "lane-name", x: chart.left + 4, y: 14 }, `${name}, at most ${text(most)}`));
  }
  if (!box.children.length) empty(box, "The trace has no counters.");
}

const calls = (f) => Object.values(f.calls).reduce((sum, n) => sum + n, 0);

const columns = [
  ["function", (f) => f.name, (f) => f.name],
  ["tier", (f) => doings.indexOf(f.tier), (f) => element("span", { class: "tag", style: `background:${colour(f.tier)}` }, f.tier)],
  ["calls", calls, (f) => element("span", { title: Object.entries(f.calls).map(([tier, n]) => `${tier} ${n}`).join(", ") }, whole(calls(f)))],
  ["heat", (f) => f.heat, (f) => whole(f.heat)],
  ["interp ms", (f) => f.interp, (f) => whole(f.interp)],
  ["quick ms", (f) => f.quick, (f) => whole(f.quick)],
  ["full ms", (f) => f.full, (f) => whole(f.full)],
  ["loop entries", (f) => f.osr, (f) => whole(f.osr)],
  ["compiles", (f) => f.compiles, (f) => whole(f.compiles)],
  ["compile ms", (f) => f.compile_ms, (f) => f.compile_ms.toFixed(1)],
  ["code bytes", (f) => f.bytes, (f) => whole(f.bytes)],
];
let sorted = { column: -1, down: true };
const total = (f) => f.interp + f.quick + f.full;

function drawFunctions() {
  const wanted = byId("search").value.toLowerCase();
  const key = sorted.column < 0 ? (f) => total(f) * 1e12 + f.heat : columns[sorted.column][1];
  const list = data.functions.filter((f) => f.name.toLowerCase().includes(wanted));
  list.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return sorted.down ? -order : order;
  });
  const head = element("tr");
  columns.forEach(([title], index) => {
    const cell = element("th", { scope: "col" });
    if (sorted.column === index) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      sorted = { column: index, down: sorted.column === index ? !sorted.down : index !== 0 };
      drawFunctions();
    });
    cell.append(button);
    head.append(cell);
  });
  const most = 500;
  const rows = list.slice(0, most).map((f) => {
    const row = element("tr", {}, ...columns.map(([, , show]) => element("td", {}, show(f))));
    row.firstChild.title = f.name;
    return row;
  });
  byId("functions").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  byId("found").textContent = list.length > most ? `${most} of ${list.length} shown` : `${list.length} functions`;
}

function drawThreads() {
  const head = ["thread", "begin", "end", ...doings.map((name) => `${name} ms`)].map((title) => element("th", { scope: "col" }, title));
  const most = 1000;
  const rows = data.threads.slice(0, most).map((thread) => {
    const sums = new Float64Array(doings.length);
    for (const [doing, begin, end] of thread.spans) sums[doing] += end - begin;
    const cells = [thread.name, thread.begin === null ? "" : time(thread.begin), thread.end === null ? "" : time(thread.end), ...[...sums].map((us) => whole(us / 1e3))];
    return element("tr", {}, ...cells.map((text) => element("td", {}, text)));
  });
  if (data.threads.length > most) rows.push(element("tr", {}, element("td", { colspan: head.length }, `and ${whole(data.threads.length - most)} more`)));
  for (const stop of data.stops) {
    rows.push(element("tr", {}, element("td", { colspan: head.length }, `At ${time(stop.at)}, ${stop.thread} stopped the program: ${stop.cause}`)));
  }
  byId("threads").replaceChildren(element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function drawHead() {
  byId("title").textContent = data.program;
  byId("subtitle").textContent = `strategy ${data.strategy}` + (data.exit_code === null ? "" : `, exit code ${data.exit_code}`);
  const facts = [[time(data.duration), "recorded"], [whole(data.threads.length), "threads"],
    [whole(data.compiles), "compiles"], [time(data.compile_us), "of compile threads"], [bytes(data.code_bytes), "of machine code published"], [whole(data.osr), "entries into running loops"]];
  byId("facts").replaceChildren(...facts.map(([value, text]) => element("div", { class: "fact" }, element("b", {}, value), element("span", {}, text))));
  const names = [...doings, "translate", "optimise", "emit", "link"];
  byId("legend").replaceChildren(...names.map((name) => element("span", {}, element("i", { style: `background:${colour(name)}` }), labels[name])));
  byId("producer").textContent = `Made by ${data.producer}` + (data.dropped ? `; ${whole(data.dropped)} events were dropped` : "");
}

function drawAll() {
  drawTimeline();
  drawShares();
  drawWarmup();
  drawCounters();
}
drawHead();
drawAll();
drawFunctions();
drawThreads();
document.body.dataset.drawn = "yes";
byId("search").addEventListener("input", drawFunctions);
byId("reset").addEventListener("click", () => {
  view = [0, data.duration];
  drawTimeline();
});
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== width) {
    width = window.innerWidth;
    drawAll();
  }
});
