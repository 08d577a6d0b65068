/** A slider for everything of a face and body that has a name. */

import {element, slider} from './controls.js';

const ACTION = {min: -1, max: 1};
const UNNAMED = {min: -3, max: 3}; // coefficients in standard deviations
const AXES = ['x', 'y', 'z'];
// Degrees to each side about x, y, z; the first name that is in a joint's counts.
const LIMITS = [
  ['jaw', [[-5, 30], [-12, 12], [-8, 8]]],
  ['eye', [[-25, 25], [-35, 35], [-5, 5]]],
  ['head', [[-40, 40], [-60, 60], [-35, 35]]],
  ['neck', [[-40, 40], [-60, 60], [-35, 35]]],
  ['spine', [[-30, 30], [-30, 30], [-25, 25]]],
  ['', [[-90, 90], [-90, 90], [-90, 90]]],
];
const PLACES = [
  [/thumb|index|middle|ring|pinky/, 'Fingers'], [/jaw|eye/, 'Jaw and eyes'], [/neck|head|spine/, 'Neck and head'],
  [/./, 'Body'],
];
const REGIONS = [
  ['Brows', /^brow/], ['Eyes', /^eye/], ['Jaw', /^jaw/], ['Mouth', /^mouth|^tongue/],
  ['Cheeks and nose', /^cheek|^nose/],
];

export class Sliders {
  /**
   * @param {HTMLElement} place
   * @param {import('./face.js').Hands} hands what they change
   * @param {() => void} changed
   */
  constructor(place, hands, changed) {
    this.place = place;
    this.hands = hands;
    this.changed = changed;
    this.shows = []; // () => void, each shows what its hand has
    this.names = []; // {name, label}
  }

  /** @param {import('./face.js').Face} face of the avatar whose names count */
  build(face) {
    this.place.replaceChildren();
    this.shows = [];
    this.names = [];
    if (face.named) this.#units(face);
    if (face.latents?.names.length) this.#latents(face.latents);
    this.#actions(face);
    this.#joints(face);
  }

  /** Show what the hands have. */
  show() {
    this.shows.forEach((show) => show());
  }

  /** @param {string} text groups without a name that holds it are folded away */
  search(text) {
    const wanted = text.trim().toLowerCase();
    for (const {name, label} of this.names) label.hidden = !name.includes(wanted);
    for (const group of this.place.querySelectorAll('details')) {
      group.hidden = !group.querySelector('label:not([hidden])');
      if (wanted) group.open = !group.hidden;
    }
  }

  #units({table}) {
    const range = {min: 0, max: table.intensity, step: 0.05, shown: (v) => v.toFixed(1)};
    const made = Object.entries(table.units).map(
      ([name, {meaning}]) => this.#one({name, hint: meaning, ...range}, this.hands, 'units', name),
    );
    this.#group('Action units', made);
  }

  #latents({names, places}) {
    const range = {min: places[0], max: places.at(-1), step: 0.05, shown: (v) => `${v.toFixed(2)} σ`};
    this.#group('Motion latent', names.map((name) => this.#one({name, ...range}, this.hands, 'latents', name)));
  }

  #actions({expressions, named}) {
    const rest = new Set(expressions);
    const range = named ? ACTION : UNNAMED;
    const group = (title, names) => {
      names.forEach((name) => rest.delete(name));
      const shown = (v) => v.toFixed(2);
      this.#group(title, names.map((name) => this.#one({name, ...range, shown}, this.hands, 'actions', name)));
    };
    if (named) for (const [title, pattern] of REGIONS) group(title, [...rest].filter((name) => pattern.test(name)));
    group(named ? 'Other actions' : 'Expression coefficients', [...rest]);
  }

  #joints({joints}) {
    const groups = {'Jaw and eyes': [], 'Neck and head': [], 'Body': [], 'Fingers': []};
    joints.forEach((name, number) => {
      if (number === 0) return; // the root is where the whole is in the world
      const group = PLACES.find(([pattern]) => pattern.test(name))[1];
      const limits = LIMITS.find(([part]) => name.includes(part))[1];
      limits.forEach(([min, max], axis) => groups[group].push(this.#joint(name, axis, min, max)));
    });
    for (const [title, made] of Object.entries(groups)) this.#group(title, made);
  }

  #joint(name, axis, min, max) {
    const what = {name: `${name.replaceAll('_', ' ')} ${AXES[axis]}`, min, max, step: 0.5, shown: (v) => `${v}°`};
    return this.#made(what, () => this.hands.joints[name]?.[axis] ?? 0, (value) => {
      const turn = (this.hands.joints[name] ??= [0, 0, 0]);
      turn[axis] = value;
      if (turn.every((v) => v === 0)) delete this.hands.joints[name];
    });
  }

  #one(what, hands, kind, name) {
    return this.#made(what, () => hands[kind][name] ?? 0, (value) => {
      if (value === 0) delete hands[kind][name];
      else hands[kind][name] = value;
    });
  }

  #made(what, read, write) {
    const {label, show, name} = slider(what, (value) => {
      write(value);
      this.changed();
    });
    this.shows.push(() => show(read()));
    this.names.push({name, label});
    return label;
  }

  #group(title, labels) {
    if (!labels.length) return;
    const summary = element('summary', {textContent: title});
    this.place.append(element('details', {}, summary, element('div', {className: 'group'}, ...labels)));
  }
}
