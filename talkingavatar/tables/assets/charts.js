"use strict";
// Line charts as SVG, drawn when they come into view.

const COLOURS = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7a3e9d", "#5b5b5b",
  "#12355b", "#f2a27e", "#86cdb5", "#8c1d4f", "#d9b949", "#a9a9a9", "#b79bd9", "#2f6b2f",
];
const DASHES = ["", "6 3", "2 2", "8 3 2 3", "1 3"];

function element(name, attributes, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "circle"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Round numbers that cover a range, about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= raw * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found;
}

function decades(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of [1, 2, 5]) all.push(factor * 10 ** power);
  const inside = all.filter(value => value >= low && value <= high);
  if (inside.length < 3) return ticks(low, high, 4);
  return inside.length > 6 ? inside.filter(value => String(value).replace(/[^125]/g, "")[0] === "1") : inside;
}

function readable(value, digits = 3) {
  const size = Math.abs(value);
  if (size >= 10000) return `${+(value / 1000).toPrecision(digits)}k`;
  return String(+value.toPrecision(size >= 1000 ? Math.max(4, digits) : digits));
}

// The numbers of an axis, in as many digits as tell them apart.
function labels(values) {
  for (let digits = 3; ; digits++) {
    const texts = values.map(value => readable(value, digits));
    if (digits === 6 || new Set(texts).size === texts.length) return texts;
  }
}

// series: [{label, colour, dash, strong, curve: [xs, ys]}]
function chart(title, xTitle, series, {log = false, zero = false} = {}) {
  const host = element("div", {class: "chart"}, element("h3", {}, title));
  new IntersectionObserver((entries, observer) => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    draw(host, xTitle, series, log, zero);
  }, {rootMargin: "300px"}).observe(host);
  return host;
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return low === high ? [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10] : [low, high];
}

function draw(host, xTitle, series, log, zero) {
  const [width, height, left, bottom, top, right] = [420, 230, 48, 34, 6, 8];
  const xs = extent(series.flatMap(one => one.curve[0]));
  const positive = log && series.every(one => one.curve[1].every(value => value > 0));
  const scale = positive ? Math.log10 : value => value;
  const ys = extent(series.flatMap(one => one.curve[1].map(scale)));
  const pad = (ys[1] - ys[0]) * 0.04;
  const x = value => left + (value - xs[0]) / (xs[1] - xs[0]) * (width - left - right);
  const y = value => height - bottom - (scale(value) - ys[0] + pad) / (ys[1] - ys[0] + 2 * pad) * (height - bottom - top);
  const svg = element("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": host.textContent});
  const rule = (x1, y1, x2, y2, colour) => element("line", {x1, y1, x2, y2, stroke: colour, "stroke-width": .8});
  const marks = positive ? decades(10 ** ys[0], 10 ** ys[1]) : ticks(ys[0], ys[1], 5);
  labels(marks).forEach((text, i) =>
    svg.append(rule(left, y(marks[i]), width - right, y(marks[i]), "#ecece8"),
               element("text", {x: left - 6, y: y(marks[i]) + 4, "text-anchor": "end"}, text)));
  const places = ticks(xs[0], xs[1], 5);
  labels(places).forEach((text, i) =>
    svg.append(rule(x(places[i]), height - bottom, x(places[i]), height - bottom + 4, "#9a9a9a"),
               element("text", {x: x(places[i]), y: height - bottom + 16, "text-anchor": "middle"}, text)));
  svg.append(rule(left, height - bottom, width - right, height - bottom, "#9a9a9a"),
             element("text", {x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle"}, xTitle));
  if (zero) svg.append(rule(x(0), top, x(0), height - bottom, "#9a9a9a"));
  const many = series.length > 16;
  for (const one of series) {
    const points = one.curve[0].map((value, i) => `${x(value).toFixed(1)},${y(one.curve[1][i]).toFixed(1)}`);
    const [cx, cy] = points[0].split(","), opacity = many && !one.strong ? .45 : 1;
    const path = {d: `M${points.join("L")}`, stroke: one.colour, "stroke-dasharray": one.dash};
    svg.append(points.length > 1 ? element("path", {...path, opacity, "stroke-width": one.strong ? 2 : 1.4})
                                 : element("circle", {cx, cy, r: 3, fill: one.colour, opacity}));
  }
  host.append(svg);
  hover(host, svg, series, x, y, width);
}

// The nearest point of any curve, named.
function hover(host, svg, series, x, y, width) {
  const tip = element("div", {class: "tip"});
  const dot = element("circle", {r: 3, fill: "none"});
  svg.append(dot);
  host.append(tip);
  svg.addEventListener("mousemove", event => {
    const box = svg.getBoundingClientRect(), zoom = width / box.width;
    const at = [(event.clientX - box.left) * zoom, (event.clientY - box.top) * zoom];
    let best = null, least = Infinity;
    for (const one of series) one.curve[0].forEach((value, i) => {
      const apart = (x(value) - at[0]) ** 2 + (y(one.curve[1][i]) - at[1]) ** 2;
      if (apart < least) [least, best] = [apart, [one, i]];
    });
    if (!best) return;
    const [one, i] = best, [px, py] = [x(one.curve[0][i]), y(one.curve[1][i])];
    dot.setAttribute("cx", px); dot.setAttribute("cy", py); dot.setAttribute("stroke", one.colour);
    tip.textContent = `${one.label}: ${readable(one.curve[1][i])} at ${readable(one.curve[0][i])}`;
    tip.style.display = "block";
    const beyond = px / zoom + tip.offsetWidth + 12 > box.width;
    tip.style.left = `${px / zoom + (beyond ? -tip.offsetWidth - 8 : 8)}px`;
    tip.style.top = `${py / zoom + 8}px`;
  });
  svg.addEventListener("mouseleave", () => { tip.style.display = "none"; dot.removeAttribute("cx"); });
}
