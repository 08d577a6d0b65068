/** One avatar on the stage: its file, how it was recorded, and how it speaks live. */

import {Face} from './face.js';
import {Latents} from './latents.js';
import {Live} from './live.js';
import {Layout, Motion} from './motion.js';
import {Avatar} from './renderer.js';
import {address, bytes, json, liveAddress} from './source.js';

const STILL = {heldout: [], cameras: [], notes: [], background: [1, 1, 1], frames: 0, fps: 25, live: null};
const SAMPLED = 2000; // Gaussians that are looked at for where it stands

export class Performer {
  /**
   * @param {number} number of the server's avatars
   * @param {Object} table of units
   */
  static async open(number, table) {
    const performer = new Performer();
    performer.number = number;
    performer.info = {...STILL, ...(await json(`/avatars/${number}.json`))};
    const avatar = await Avatar.load(address(`/avatars/${number}.glb`), performer.info.name);
    performer.avatar = avatar;
    performer.layout = new Layout({
      joints: avatar.joints, expressions: avatar.manifest.expressions.length, coefficients: avatar.coefficients,
    });
    performer.face = new Face(avatar.manifest, table, new Latents(avatar));
    if (performer.info.frames) {
      const rows = new Float32Array(await bytes(`/avatars/${number}/motion`));
      performer.motion = new Motion(performer.layout, rows, performer.info.fps);
    }
    performer.live = liveAddress(number) && new Live(number, performer.layout);
    performer.#measure();
    return performer;
  }

  /** @param {number} seconds @param {boolean} monitored @returns {import('./motion.js').Frame} before any hand */
  frame(seconds, monitored) {
    return this.live?.frame(monitored) ?? this.motion?.at(seconds) ?? this.avatar.restingFrame();
  }

  /** @returns {number} of the frame that is shown at a time */
  numberAt(seconds) {
    return Math.min(Math.floor(seconds * this.info.fps), this.info.frames - 1);
  }

  /** Its middle and the extent of most of it in the first frame, metres; where nothing turns it much. */
  #measure() {
    const means = this.avatar.values('gaussians.means');
    const step = 3 * Math.max(1, Math.floor(means.length / 3 / SAMPLED));
    const first = this.motion?.at(0).transl ?? [0, 0, 0];
    const sides = [0, 1, 2].map((axis) => {
      const values = [];
      for (let i = axis; i < means.length; i += step) values.push(means[i] + first[axis]);
      values.sort((a, b) => a - b);
      return [0.1, 0.5, 0.9].map((share) => values[Math.floor(share * (values.length - 1))]);
    });
    this.centre = sides.map(([, middle]) => middle);
    this.size = sides.map(([low, , high]) => high - low);
  }
}
