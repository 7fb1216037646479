/* What the pages of measurements share. Each page's own script follows. */
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "path", "circle", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function time(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toFixed(2)} ms`;
  return `${(seconds * 1e6).toFixed(1)} µs`;
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const widthOf = (box) => Math.max(320, box.clientWidth - 16);

function fill(id, head, rows) {
  const line = (cell, texts) => element("tr", {}, ...texts.map((text) => element(cell, {}, text)));
  byId(id).replaceChildren(element("thead", {}, line("th", head)), element("tbody", {}, ...rows.map((row) => line("td", row))));
}

