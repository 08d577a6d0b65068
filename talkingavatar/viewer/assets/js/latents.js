/** Hidden directions of what drives an avatar: `networks.baked.Latents` in the browser. */

import {axisAngleOf, quatOf} from './turns.js';

/** @typedef {import('./motion.js').Frame} Frame */

export class Latents {
  /** @param {import('./avatar.js').Avatar} avatar */
  constructor(avatar) {
    /** @type {Float32Array} standard deviations, rising; none of an avatar without */
    this.places = avatar.values('latents.places') ?? new Float32Array();
    const [count] = avatar.arrays['latents.turns']?.shape ?? [0];
    this.names = Array.from({length: count}, (_, number) => `latent ${number + 1}`);
    this.parts = ['turns', 'expression', 'residual'].map((name) => avatar.values(`latents.${name}`));
  }

  /**
   * @param {Frame} frame changed in place
   * @param {Record<string, number>} wanted standard deviations by name
   */
  apply(frame, wanted) {
    this.names.forEach((name, number) => wanted[name] && this.#add(frame, number, wanted[name]));
  }

  #add(frame, number, wanted) {
    const {places} = this;
    const last = places.length - 1;
    const value = Math.min(Math.max(wanted, places[0]), places[last]);
    const low = Math.min(places.findLastIndex((place) => place <= value), last - 1);
    const share = (value - places[low]) / (places[low + 1] - places[low]);
    const [turns, expression, residual] = this.parts.map((table, part) => {
      const width = [(3 * frame.quats.length) / 4, frame.expression.length, frame.residual.length][part];
      const at = (number * places.length + low) * width;
      return Float32Array.from({length: width}, (_, i) => table[at + i] * (1 - share) + table[at + width + i] * share);
    });
    expression.forEach((change, i) => (frame.expression[i] += change));
    residual.forEach((change, i) => (frame.residual[i] += change));
    for (let joint = 0; 3 * joint < turns.length; joint++) {
      const change = turns.subarray(3 * joint, 3 * joint + 3);
      if (!change.some(Boolean)) continue;
      const quat = frame.quats.subarray(4 * joint, 4 * joint + 4);
      quat.set(quatOf(axisAngleOf(quat).map((v, axis) => v + change[axis])));
    }
  }
}
