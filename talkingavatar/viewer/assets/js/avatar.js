/** One avatar as a file holds it: a baked one that moves, or Gaussians that stand still. */

import {misfit} from './contract.js';
import {Glb, fromHalf} from './glb.js';

const FORMAT = 'talkingavatar-baked';
const VERSION = 2; // the newest that this page reads
const SPLATTING = 'KHR_gaussian_splatting';
const LEAST = 1e-6; // of an opacity, that its logit is a number

/** @typedef {import('./glb.js').Numbers} Numbers */

export class Avatar {
  /**
   * @param {string|ArrayBuffer} source an address, or the bytes
   * @param {string} name what the file is called in what is said of it
   * @returns {Promise<Avatar>}
   * @throws {Error} it cannot be had, is damaged, or newer than this page
   */
  static async load(source, name = typeof source === 'string' ? source : 'avatar') {
    if (typeof source !== 'string') return new Avatar(new Glb(source, name));
    let answer;
    try {
      answer = await fetch(source);
    } catch {
      throw new Error(`${name}: the server does not answer: is it still running?`);
    }
    if (!answer.ok) throw new Error(`${name}: the server says ${answer.status} ${answer.statusText}`);
    return new Avatar(new Glb(await answer.arrayBuffer(), name));
  }

  /** @param {Glb} file */
  constructor(file) {
    this.name = file.name;
    const manifest = file.extras.talkingavatar;
    /** @type {Record<string, Numbers>} */
    this.arrays = {};
    if (manifest?.format === FORMAT) this.#baked(file, manifest);
    else this.#still(file, manifest);
    this.count = this.arrays['gaussians.means'].shape[0];
  }

  /** @returns {number} of the joints that a frame turns */
  get joints() {
    return this.manifest.joints.length;
  }

  /** @returns {number} of the coefficients of the residual */
  get coefficients() {
    return this.manifest.counts.coefficients ?? 0;
  }

  /** @param {string} name */
  has(name) {
    return name in this.arrays;
  }

  /**
   * Values of an array, whatever the type it is stored in.
   * @param {string} name
   * @returns {Float32Array|Int32Array|Uint16Array|Uint8Array|null} null where the file has none
   */
  values(name) {
    const found = this.arrays[name];
    if (!found) return null;
    return found.half ? fromHalf(found.data) : found.data;
  }

  /** @returns {{quats: Float32Array, transl: Float32Array, expression: Float32Array, residual: Float32Array}} at rest */
  restingFrame() {
    const quats = new Float32Array(4 * this.joints);
    for (let joint = 0; joint < this.joints; joint++) quats[4 * joint] = 1;
    const {expressions} = this.manifest;
    return {
      quats,
      transl: new Float32Array(3),
      expression: new Float32Array(expressions.length),
      residual: new Float32Array(this.coefficients),
    };
  }

  #baked(file, manifest) {
    if (manifest.version > VERSION) {
      const known = `this page reads up to ${VERSION}: update talkingavatar`;
      throw new Error(`${file.name}: version ${manifest.version} of a baked avatar, ${known}`);
    }
    this.manifest = manifest;
    for (const [name, entry] of Object.entries(manifest.arrays)) this.arrays[name] = file.array(entry);
    const wrong = misfit(this.arrays, {J: manifest.parents.length, E: manifest.expressions.length});
    if (wrong) throw new Error(`${file.name}: damaged (${wrong}): export it again`);
  }

  /** Gaussians of any KHR_gaussian_splatting file, carried by nothing. */
  #still(file, manifest = {}) {
    const attributes = file.document.meshes?.[0]?.primitives?.[0]?.attributes ?? {};
    const read = (name) => {
      const index = attributes[name] ?? attributes[`${SPLATTING}:${name}`];
      if (index === undefined) throw new Error(`${file.name}: no Gaussians in it (${SPLATTING}:${name})`);
      return file.accessor(index);
    };
    const put = (name, data, shape) => (this.arrays[`gaussians.${name}`] = {data, shape, half: false});
    const {data: means, shape} = read('POSITION');
    const count = shape[0];
    put('means', means, shape);
    put('quats', wxyz(read('ROTATION').data), [count, 4]);
    put('log_scales', read('SCALE').data.map(Math.log), [count, 3]);
    const logit = (p) => Math.log(Math.max(p, LEAST) / Math.max(1 - p, LEAST));
    put('opacities', read('OPACITY').data.map(logit), [count]);
    const bands = [];
    for (let degree = 0; `${SPLATTING}:SH_DEGREE_${degree}_COEF_0` in attributes; degree++) {
      for (let order = 0; order <= 2 * degree; order++) bands.push(read(`SH_DEGREE_${degree}_COEF_${order}`).data);
    }
    if (!bands.length) throw new Error(`${file.name}: Gaussians without colours`);
    put('sh', interleaved(bands, count), [count, bands.length, 3]);
    this.manifest = {mode: '3dgs', joints: [], parents: [], expressions: [], counts: {}, ...manifest};
  }
}

/** @param {Float32Array} xyzw quaternions, as glTF has them */
function wxyz(xyzw) {
  return xyzw.map((_, i) => xyzw[i % 4 ? i - 1 : i + 3]);
}

/**
 * @param {Float32Array[]} bands each (N, 3)
 * @param {number} count
 * @returns {Float32Array} (N, S, 3)
 */
function interleaved(bands, count) {
  const all = new Float32Array(count * bands.length * 3);
  bands.forEach((band, s) => {
    for (let n = 0; n < count; n++) all.set(band.subarray(3 * n, 3 * n + 3), (n * bands.length + s) * 3);
  });
  return all;
}
