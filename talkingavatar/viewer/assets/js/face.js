/**
 * What hands, words and units make of a frame: `body.action_units` and `engine.performing.editing` in the browser.
 *
 * An action's slider adds to what is recorded; a unit raises its actions to at least that intensity, as a prompt does.
 */

import {axisAngleOf, product, quatOf} from './turns.js';

/** @typedef {import('./motion.js').Frame} Frame */
/** @typedef {{start: number, stop: number|null, raised: Object, calmed: Object, feeling: boolean}} Ask */

const SIDES = ['Left', 'Right'];

/** What is asked by hand. */
export class Hands {
  constructor() {
    this.clear();
  }

  clear() {
    this.actions = {}; // added, by name
    this.units = {}; // intensities
    this.joints = {}; // degrees about x, y, z
    this.latents = {}; // standard deviations, by name
    this.recorded = 1; // share of the recorded face
  }

  /** Left and right change places. */
  mirror() {
    const swapped = (values, change = (v) => v) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [mirrored(name), change(value)]));
    this.actions = swapped(this.actions);
    this.joints = swapped(this.joints, ([x, y, z]) => [x, -y, -z]);
  }

  /** @returns {Object} to be copied */
  told() {
    const {actions, units, joints, latents, recorded} = this;
    return {actions, units, joints, latents, recorded};
  }

  /**
   * @param {Object} told
   * @throws {Error} it is something else
   */
  take(told) {
    const numbers = (values, length) => {
      const entries = Object.entries(values ?? {});
      const good = ([, v]) => (length ? Array.isArray(v) && v.length === length && v.every(isFinite) : isNumber(v));
      if (!entries.every(good)) throw new Error('These are no values of a face.');
      return Object.fromEntries(entries);
    };
    if (typeof told !== 'object' || told === null || Array.isArray(told)) throw new Error('This is no face.');
    const taken = [numbers(told.actions), numbers(told.units), numbers(told.joints, 3), numbers(told.latents)];
    [this.actions, this.units, this.joints, this.latents] = taken;
    this.recorded = isNumber(told.recorded) ? told.recorded : 1;
  }
}

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

function mirrored(name) {
  const other = {Left: 'Right', Right: 'Left', left: 'right', right: 'left'};
  return name.replace(/Left|Right|left|right/, (side) => other[side]);
}

export class Face {
  /**
   * @param {Object} manifest of an avatar
   * @param {Object} table units and constants, as the server tells them
   * @param {import('./latents.js').Latents|null} latents
   */
  constructor(manifest, table, latents = null) {
    this.table = table;
    this.latents = latents;
    this.expressions = manifest.expressions;
    this.joints = manifest.joints;
    this.column = Object.fromEntries(this.expressions.map((name, column) => [name, column]));
    const used = Object.values(table.units).flatMap(({actions}) => actions);
    /** Whether units mean anything to it. */
    this.named = used.every((name) => name in this.column);
    this.jaw = this.joints.indexOf('jaw');
    /** How far its lips stand apart (`body.lips.opening_lever`). */
    this.lips = manifest.lips ?? null;
    /** Of an avatar whose residual is told in units: shares of each. */
    this.units = manifest.units ?? [];
  }

  /**
   * @param {Frame} frame changed in place
   * @param {Hands} hands
   * @param {Ask[]} asks
   * @param {number} seconds
   */
  apply(frame, hands, asks, seconds) {
    const neutral = hands.recorded;
    if (neutral !== 1) this.#share(frame, neutral);
    this.latents?.apply(frame, hands.latents);
    for (const [name, degrees] of Object.entries(hands.joints)) this.#turn(frame, name, degrees);
    const curves = this.#curves(hands.units, asks, seconds);
    const [before, opening, jaw] = [this.read(frame), this.opening(frame), this.jaw < 0 ? 0 : this.#jawTurn(frame)[0]];
    this.#write(frame, before, this.#asked(Float64Array.from(before), curves));
    if (this.#freeToSpeak(curves)) this.#close(frame, opening, jaw);
    this.#residual(frame, curves);
    const now = this.read(frame);
    const after = Float64Array.from(now);
    for (const [name, value] of Object.entries(hands.actions)) {
      if (name in this.column) after[this.column[name]] += value;
    }
    this.#write(frame, now, after);
  }

  /** @param {Frame} frame @returns {number} metres between the middles of the lips; 0 of one who does not know them */
  opening(frame) {
    if (!this.lips || this.jaw < 0) return 0;
    const {basis, rest} = this.lips;
    const [still, ...turned] = basis.map((row, i) => row.reduce((sum, v, e) => sum + v * frame.expression[e], rest[i]));
    const [w, x, y, z] = frame.quats.subarray(4 * this.jaw, 4 * this.jaw + 4);
    const up = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)];
    return still + up.reduce((sum, v, axis) => sum + v * turned[axis], 0);
  }

  /** Whether units change the face, and none of them what the sound says first. */
  #freeToSpeak(curves) {
    const asked = Object.values(curves).flatMap((units) => Object.entries(units));
    const counts = asked.filter(([, both]) => Math.max(...both) > 0).map(([name]) => name);
    return this.lips !== null && counts.length > 0 && !counts.some((name) => this.table.spoken.includes(name));
  }

  /** Lips as far apart as they were, by one step of the jaw, as far as the teeth let it. */
  #close(frame, opening, jaw) {
    const turn = this.#jawTurn(frame);
    const turned = ([x, y, z]) => frame.quats.set(quatOf([x, y, z]), 4 * this.jaw);
    const now = this.opening(frame);
    turned([turn[0] + this.table.step, turn[1], turn[2]]);
    const wider = this.opening(frame);
    const needed = (this.table.step * (opening - now)) / Math.max(wider - now, 1e-6);
    turned([Math.max(turn[0] + needed, Math.min(jaw, 0)), turn[1], turn[2]]);
  }

  /** Strengths of all actions; of the jaw's, what its column and its joint come to. */
  read(frame) {
    const actions = Float64Array.from(frame.expression);
    if (this.named && this.jaw >= 0) {
      actions[this.column[this.table.jaw]] += this.#jawTurn(frame)[0] / this.table.jawOpen;
    }
    return actions;
  }

  #jawTurn(frame) {
    return axisAngleOf(frame.quats.subarray(4 * this.jaw, 4 * this.jaw + 4));
  }

  #share(frame, share) {
    for (let i = 0; i < frame.expression.length; i++) frame.expression[i] *= share;
    if (this.jaw >= 0) frame.quats.set(quatOf(this.#jawTurn(frame).map((v) => v * share)), 4 * this.jaw);
  }

  #turn(frame, name, degrees) {
    const joint = this.joints.indexOf(name);
    if (joint < 0) return;
    const turn = quatOf(degrees.map((v) => (v * Math.PI) / 180));
    frame.quats.set(product(frame.quats.subarray(4 * joint, 4 * joint + 4), turn), 4 * joint);
  }

  #write(frame, before, after) {
    const jawColumn = this.named && this.jaw >= 0 ? this.column[this.table.jaw] : -1;
    for (let i = 0; i < after.length; i++) if (i !== jawColumn) frame.expression[i] += after[i] - before[i];
    if (jawColumn < 0 || after[jawColumn] === before[jawColumn]) return;
    const turn = this.#jawTurn(frame);
    turn[0] += this.table.jawOpen * (after[jawColumn] - before[jawColumn]);
    frame.quats.set(quatOf(turn), 4 * this.jaw);
  }

  /** What units and prompts make of actions: less what is calmed, and at least what is asked. */
  #asked(actions, {raised, calmed}) {
    if (!this.named) return actions;
    this.#eachAction(calmed, 1, (column, value) => (actions[column] *= 1 - value));
    const least = (column, value) => (actions[column] = Math.max(actions[column], value));
    this.#eachAction(raised, this.table.intensity, least);
    return actions;
  }

  /** The same of what units do beyond the rig; a unit is the mean of its sides there (`drivers.unit_edit`). */
  #residual({residual}, {raised, calmed}) {
    const mean = (both = [0, 0]) => (both[0] + both[1]) / 2;
    this.units.forEach((name, unit) => {
      const calm = residual[unit] * (1 - mean(calmed[name]));
      residual[unit] = Math.max(calm, mean(raised[name]) / this.table.intensity);
    });
  }

  /** @returns {{raised: Object, calmed: Object}} of each unit its two sides, now */
  #curves(units, asks, seconds) {
    const raised = {};
    const calmed = {};
    const most = (into, name, sides, value) => {
      const both = (into[name] ??= [0, 0]);
      for (const side of sides) both[side] = Math.max(both[side], value);
    };
    for (const [name, value] of Object.entries(units)) if (value > 0) most(raised, name, [0, 1], value);
    for (const ask of asks) {
      const weight = weightOf(ask, seconds, this.table.fade);
      if (weight === 0) continue;
      for (const [curve, wanted] of [[raised, ask.raised], [calmed, ask.calmed]]) {
        for (const [key, value] of Object.entries(wanted)) {
          const name = key.slice(0, 4);
          if (ask.feeling && this.table.spoken.includes(name)) continue;
          most(curve, name, {L: [0], R: [1]}[key.slice(4)] ?? [0, 1], weight * value);
        }
      }
    }
    return {raised, calmed};
  }

  /** The strongest that any unit asks of each action. */
  #eachAction(units, strongest, change) {
    const asked = {};
    for (const [name, both] of Object.entries(units)) {
      const parts = name === 'AU25';
      for (const action of parts ? [this.table.jaw] : this.table.units[name].actions) {
        const side = SIDES.findIndex((end) => action.endsWith(end));
        const value = ((parts ? this.table.parted : 1) * (side < 0 ? Math.max(...both) : both[side])) / strongest;
        asked[action] = Math.max(asked[action] ?? 0, value);
      }
    }
    for (const [action, value] of Object.entries(asked)) change(this.column[action], value);
  }
}

/** How far it is asked at a time: 1, with smooth flanks; what is shorter than a fade still comes to 1. */
export function weightOf({start, stop}, seconds, fade) {
  const end = stop ?? Infinity;
  const flank = Math.max(Math.min(fade, (end - start) / 2), 1e-6);
  const up = start > 0 ? smooth((seconds - start) / flank + 0.5) : 1;
  const down = Number.isFinite(end) ? smooth((end - seconds) / flank + 0.5) : 1;
  return up * down;
}

function smooth(x) {
  const c = Math.min(Math.max(x, 0), 1);
  return c * c * (3 - 2 * c);
}
