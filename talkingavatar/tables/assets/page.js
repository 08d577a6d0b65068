"use strict";
// Filters and ticks decide which runs are drawn.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = [...document.querySelectorAll(".runs > tbody > tr")];
const filters = [...document.querySelectorAll("[data-filter]")];
const ticked = rows.map(row => row.querySelector("input"));
data.runs.forEach((run, i) => { run.place = i; });
const CURVES = 6, TICKED = 6;
const LONG = 40;  // runs above which they stand folded, under one line for each experiment
const SYNC = {
  sync: "SyncNet, mean distance ↓",
  mouth_sync: "mouth from sound, correlation ↑",
};

const unique = values => [...new Set(values)];
const experiments = unique(data.runs.map(run => run.experiment)).sort();
const subjects = unique(data.runs.map(run => run.subject)).sort();
const colour = run => experiments.length > 1 || data.runs.length > COLOURS.length
  ? COLOURS[experiments.indexOf(run.experiment) % COLOURS.length] : COLOURS[run.place % COLOURS.length];
const dash = run => DASHES[subjects.indexOf(run.subject) % DASHES.length];

function passing() {
  return data.runs.filter(run => filters.every(filter => !filter.value || run[filter.dataset.filter] === filter.value));
}
const chosen = () => passing().filter(run => ticked[run.place].checked);

function filtered() {
  const left = passing();
  const few = left.length <= LONG || unique(left.map(run => run.experiment)).length === 1;
  for (const group of groups) group.open = few;
  listed(left);
  document.getElementById("left").textContent = `${left.length} of ${data.runs.length} chosen`;
  curves();
  sync();
  media();
}

const groups = data.runs.length > LONG ? unique(data.runs.map(run => run.experiment)).map(group) : [];
function group(name) {
  const own = rows.filter((row, i) => data.runs[i].experiment === name);
  const button = element("button", {type: "button"}, name), told = element("span", {});
  const made = {name, button, told, head: element("tr", {class: "group"}, element("th", {colspan: 10}, button, told)), open: false};
  own[0].before(made.head);
  made.head.after(...own);
  button.onclick = () => { made.open = !made.open; listed(passing()); };
  return made;
}

function listed(left) {
  const open = new Set(groups.filter(group => group.open).map(group => group.name)), chosen = new Set(left);
  data.runs.forEach((run, i) => { rows[i].hidden = !chosen.has(run) || (groups.length > 0 && !open.has(run.experiment)); });
  for (const {name, button, told, head} of groups) {
    const states = left.filter(run => run.experiment === name).map(run => run.status);
    const counts = unique(states).map(state => `${states.filter(other => other === state).length} ${state}`);
    head.hidden = !states.length;
    button.setAttribute("aria-expanded", open.has(name));
    told.textContent = `${states.length} runs: ${counts.join(", ")}`;
  }
}

// In what each run's configuration differs from another's, to be unfolded; how it was started beneath.
const against = element("select", {"aria-label": "compare with"}, ...data.runs.map((run, i) => element("option", {value: i}, run.name)));
document.querySelector(".against").append(against);
const values = data.runs.map(run => new Map(run.diff.map(([key, , value]) => [key, value])));
const firsts = new Map(data.runs.flatMap(run => run.diff.map(([key, first]) => [key, first])));
const NAMED = 3;

function differences() {
  const there = values[+against.value];
  rows.forEach((row, i) => {
    const here = values[i], valueIn = (map, key) => map.has(key) ? map.get(key) : firsts.get(key);
    const keys = unique([...here.keys(), ...there.keys()]).filter(key => valueIn(here, key) !== valueIn(there, key)).sort();
    const more = keys.length > NAMED ? ` and ${keys.length - NAMED} more` : "";
    const text = i === +against.value ? "itself" : keys.slice(0, NAMED).join(", ") + more || "nothing";
    const details = element("details", {}, element("summary", {}, text));
    details.ontoggle = () => details.childElementCount > 1 || details.append(...unfolded(keys, key =>
      [key, valueIn(there, key), valueIn(here, key)], data.runs[+against.value], data.runs[i]));
    row.querySelector(".diff").replaceChildren(details);
  });
}

function unfolded(keys, line, there, here) {
  const cells = (tag, texts) => element("tr", {}, ...texts.map(text => element(tag, {}, text)));
  const table = element("table", {}, cells("th", ["", there.name, here.name]), ...keys.map(key => cells("td", line(key))));
  return [...(keys.length ? [table] : []), ...here.start.split("\n").map(text => element("p", {}, text))];
}

// Training curves: the first few, the others on demand.
let every = false;
function curves() {
  const section = document.getElementById("curves"), host = section.querySelector(".charts");
  const runs = passing(), strong = new Set(runs.length > 16 ? chosen() : []);
  const keys = data.keys.filter(key => runs.some(run => run.curves[key]));
  const one = run => ({label: run.name, colour: colour(run), dash: dash(run), strong: strong.has(run)});
  const made = (every ? keys : keys.slice(0, CURVES)).map(key => chart(key, "step",
    runs.filter(run => run.curves[key]).map(run => ({...one(run), curve: run.curves[key]})), {log: key.startsWith("loss/")}));
  host.replaceChildren(...made);
  legend(section.querySelector(".legend"), runs, keys.length);
  if (!made.length) host.append(element("p", {}, "Nothing was logged."));
}

function legend(host, runs, keys) {
  const sample = (stroke, dashes) => element("svg", {viewBox: "0 0 26 8"},
    element("path", {d: "M0,4H26", stroke, "stroke-dasharray": dashes, "stroke-width": 2, fill: "none"}));
  const item = (text, stroke, dashes) => element("span", {}, sample(stroke, dashes), text);
  const items = unique(runs.map(run => run.experiment)).length > 1 || runs.length > COLOURS.length
    ? unique(runs.map(run => run.experiment)).map(name => item(name, colour({experiment: name}), ""))
    : runs.map(run => item(run.name, colour(run), ""));
  const who = unique(runs.map(run => run.subject));
  if (who.length > 1) items.push(...who.map(name => item(name, "#6b6b6b", dash({subject: name}))));
  if (keys > CURVES) {
    const more = element("button", {type: "button"}, every ? "fewer curves" : `all ${keys} curves`);
    more.onclick = () => { every = !every; curves(); };
    items.push(more);
  }
  host.replaceChildren(...items);
}

// Distance against shift: one chart a subject and kind.
function sync() {
  const section = document.getElementById("sync"), host = section.querySelector(".charts");
  const charts = [];
  for (const subject of subjects) for (const [kind, title] of Object.entries(SYNC)) {
    const series = [];
    for (const run of passing().filter(run => run.subject === subject))
      Object.entries(run.sync).forEach(([condition, kinds], i) => {
        if (kinds[kind]) series.push({label: `${run.name}, ${condition}`, colour: colour(run),
          dash: DASHES[condition === "full" ? 0 : 1 + i % (DASHES.length - 1)], curve: kinds[kind]});
      });
    const truth = (data.truth[subject] || {})[kind];
    if (series.length && truth) series.push({label: "ground truth", colour: "#1b1b1b", dash: "", strong: true, curve: truth});
    if (series.length) charts.push(chart(`${subject} · ${title}`, "frames by which the sound leads", series, {zero: true}));
  }
  const none = element("p", {}, "No run was evaluated: python -m talkingavatar.evaluate run=…");
  host.replaceChildren(...(charts.length ? charts : [none]));
  if (charts.length && !section.querySelector(".hint"))
    section.insertBefore(element("p", {class: "hint"}, "black: ground truth; solid: driven by all inputs; dashed: other conditions"), host);
}

// Videos and pictures of the ticked runs, decoded when they are needed.
const urls = new Map();
function url(i) {
  const medium = data.media[i];
  if (medium.href) return medium.href;
  if (!urls.has(i)) {
    const text = atob(document.getElementById(`blob-${i}`).textContent);
    const bytes = Uint8Array.from(text, letter => letter.charCodeAt(0));
    urls.set(i, URL.createObjectURL(new Blob([bytes], {type: medium.video ? "video/mp4" : "image/jpeg"})));
  }
  return urls.get(i);
}

function kinds(video) {
  const select = element("select", {"aria-label": video ? "video" : "picture"});
  for (const title of unique(data.media.filter(medium => medium.video === video).map(medium => medium.title)))
    select.append(element("option", {}, title));
  return select;
}
const videoBar = document.querySelector("#videos .bar"), pictureBar = document.querySelector("#pictures .bar");
const videoKind = kinds(true), pictureKind = kinds(false);
videoBar.append(videoKind);
pictureBar.append(pictureKind);
const wall = new Wall(videoBar);

function found(video, title) {
  const wanted = new Set(chosen());
  return data.media.map((medium, i) => ({medium, i, run: data.runs[medium.run]}))
    .filter(({medium, run}) => medium.video === video && medium.title === title && wanted.has(run))
    .sort((a, b) => a.medium.run - b.medium.run);
}

function shown(section, items, make) {
  const grid = document.querySelector(`#${section} .grid`);
  const nothing = element("p", {class: "hint"}, "None of the ticked runs has any.");
  const made = items.map(make);
  grid.replaceChildren(...(made.length ? made.map((one, i) =>
    element("div", {}, element("h3", {}, items[i].run.name), one)) : [nothing]));
  return made;
}

function media() {
  const films = found(true, videoKind.value);
  const videos = shown("videos", films, ({i}) => element("video", {src: url(i), preload: "auto", playsinline: ""}));
  wall.show(videos, films.map(({run}) => run.name));
  shown("pictures", found(false, pictureKind.value), ({i, run}) => element("a", {href: url(i), target: "_blank"},
    element("img", {src: url(i), loading: "lazy", alt: `${pictureKind.value} of ${run.name}`})));
}

// At first: one run an experiment, of the first subject that has a video or picture.
function tickSome() {
  const having = new Set(data.media.map(medium => data.runs[medium.run]));
  const first = subjects.map(subject => experiments.map(name =>
    data.runs.find(run => run.experiment === name && run.subject === subject && having.has(run))).filter(Boolean));
  const most = first.reduce((best, runs) => runs.length > best.length ? runs : best, []);
  for (const run of most.slice(0, TICKED)) ticked[run.place].checked = true;
}

document.querySelectorAll(".unfold").forEach(button => {
  button.onclick = () => button.closest("figure").classList.toggle("unfolded");
});
filters.forEach(filter => filter.addEventListener("change", filtered));
ticked.forEach(box => box.addEventListener("change", media));
videoKind.onchange = pictureKind.onchange = media;
against.onchange = differences;
tickSome();
differences();
filtered();
