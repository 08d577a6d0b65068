/** Avatars on a canvas. The one entry: what the page needs of all beside it. */

import {context} from './gl.js';
import {Instance} from './passes.js';
import {Picture} from './picture.js';
import {Projection} from './projection.js';
import {Sorter, farthestFirst} from './sort.js';
import {Timer} from './timer.js';

export {Avatar} from './avatar.js';

/** @typedef {import('./avatar.js').Avatar} Avatar */
/** @typedef {import('./projection.js').Camera} Camera */

const SECOND = 1000;

export class Renderer {
  #camera = null;
  #background = [1, 1, 1];
  #stale = true; // the picture, of what is to be seen
  #moved = true; // camera or Gaussians since the last projection
  // Projections are numbered: the newest, the first of the avatars that are there now, the one whose order is drawn, the
  // newest whose order is drawn or under way, and the one whose depths were asked for last.
  #projected = 0;
  #arranged = 1;
  #ordered = 0;
  #asked = 0;
  #requested = 0;
  #listening = new AbortController();
  #draws = [];
  #sortMs = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{sync?: boolean}} options sync: wait for the order of each frame, as pictures that are kept want it
   * @throws {Error} this browser has no WebGL2
   */
  constructor(canvas, {sync = false} = {}) {
    this.canvas = canvas;
    this.sync = sync;
    /** @type {Instance[]} */
    this.instances = [];
    this.gl = context(canvas);
    this.sorter = new Sorter();
    this.#build();
    const {signal} = this.#listening;
    // Prevented, for else it is never given back.
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault(), {signal});
    canvas.addEventListener('webglcontextrestored', () => this.#build(), {signal});
  }

  /** @returns {boolean} the browser has taken the GPU away, for now; all is drawn again once it is back */
  get lost() {
    return this.gl.isContextLost();
  }

  /** @param {Camera} camera world to camera, rows first, OpenCV's axes; pixels */
  set camera(camera) {
    this.#camera = camera;
    this.#moved = true;
  }

  get camera() {
    return this.#camera;
  }

  /** @param {number[]|null} colour RGB, 0 to 1; null: the page shows through */
  set background(colour) {
    this.#background = colour;
    this.#stale = true;
  }

  get background() {
    return this.#background;
  }

  /**
   * @param {Avatar} avatar
   * @param {{place?: number[]}} options place: metres by which it is moved aside
   * @returns {Instance}
   */
  add(avatar, {place} = {}) {
    const instance = new Instance(avatar, place);
    if (!this.lost) instance.build(this.gl);
    this.instances.push(instance);
    this.#arrange();
    return instance;
  }

  /** @param {Instance} instance its memory is given back */
  remove(instance) {
    this.instances = this.instances.filter((other) => other !== instance);
    if (!this.lost) instance.delete();
    this.#arrange();
  }

  /**
   * Draw what is to be seen, if anything has changed. Call it once for each frame of the screen: an order that was asked
   * for comes with a later call.
   * @returns {boolean} whether it was drawn; false, too, while the browser has taken the GPU away
   */
  draw() {
    if (this.lost || !this.#camera) return false;
    const drawn = this.timer.measure(() => this.#drawn());
    if (drawn) this.#draws.push(performance.now());
    return drawn;
  }

  /**
   * @param {{float?: boolean}} options float: not rounded to bytes
   * @returns {Promise<Float32Array|Uint8Array>} (H, W, 4) of what `draw` shows, sorted now; the upper row
   *   first, colour times alpha
   */
  async pixels({float = false} = {}) {
    this.#project();
    this.#sortNow();
    const found = this.picture.exact(this.projection, this.#camera, this.#background);
    return float ? found : Uint8Array.from(found, (value) => Math.round(255 * Math.min(Math.max(value, 0), 1)));
  }

  /** Once the GPU has drawn all that it was told to. */
  async finish() {
    this.gl.bindFramebuffer(this.gl.FRAMEBUFFER, null);
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  /** @param {Instance} instance */
  async readPass(instance) {
    instance.run();
    return instance.read();
  }

  /** @returns {boolean} a newer order than the one drawn is under way: `draw` again, a little later */
  get pending() {
    return this.#asked < this.#projected || this.sorter.busy || this.projection.fence !== null;
  }

  /** @returns {{fps: number, sortMs: number, gpuMs: number|null, gaussians: number, renderer: string}} */
  get stats() {
    const since = performance.now() - SECOND;
    this.#draws = this.#draws.filter((time) => time > since);
    return {
      fps: this.#draws.length,
      sortMs: this.#sortMs,
      gpuMs: this.timer.ms,
      gaussians: this.instances.reduce((sum, {shape}) => sum + shape.count, 0),
      renderer: this.gpu,
    };
  }

  /** Give everything back. */
  delete() {
    this.#listening.abort();
    this.sorter.stop();
    if (this.lost) return;
    this.instances.forEach((instance) => instance.delete());
    this.projection.delete();
    this.picture.delete();
    this.instances = [];
  }

  /** Everything on the GPU, at the start and after it was taken away. */
  #build() {
    const {gl} = this;
    this.gpu = gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info')?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
    this.timer = new Timer(gl);
    this.picture = new Picture(gl);
    this.instances.forEach((instance) => instance.build(gl));
    this.projection = null; // went with the old context
    this.#arrange();
  }

  /** Texels for all instances; an order of others is worth nothing now. */
  #arrange() {
    this.#arranged = this.#projected + 1;
    this.#moved = true;
    if (this.lost) return;
    this.projection?.delete();
    this.projection = new Projection(this.gl, this.instances);
  }

  #drawn() {
    const {width, height} = this.#camera;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.#project();
    if (!this.#stale) return false;
    this.picture.show(this.projection, this.#camera, this.#background);
    this.#stale = false;
    return true;
  }

  /** Bring what the camera sees up to date, and its order as far as that is known. */
  #project() {
    if (this.#moved || this.instances.some((instance) => instance.changed)) {
      this.instances.forEach((instance) => instance.run());
      this.projection.run(this.#camera);
      this.#moved = false;
      this.#stale = true;
      this.#projected++;
    }
    if (!this.sync && this.#ordered >= this.#arranged) this.#sortBeside();
    else if (this.#asked < this.#projected) this.#sortNow();
  }

  #sortNow() {
    const depths = this.projection.readDepths();
    const start = performance.now();
    const order = farthestFirst(depths);
    this.#asked = this.#projected;
    this.#takeOrder({order, number: this.#projected, ms: performance.now() - start});
  }

  /** Depths go to the worker when the GPU has them, one set at a time. */
  #sortBeside() {
    const {projection, sorter} = this;
    if (sorter.busy) return;
    const depths = projection.receivedDepths();
    if (depths) sorter.sort(depths, this.#requested, (sorted) => this.#takeOrder(sorted));
    else if (this.#asked < this.#projected && !projection.fence) {
      projection.requestDepths();
      this.#requested = this.#asked = this.#projected;
    }
  }

  #takeOrder({order, number, ms}) {
    this.#sortMs = ms;
    if (this.lost || number < this.#arranged || number < this.#ordered) return;
    this.picture.setOrder(order);
    this.#ordered = number;
    this.#stale = true;
  }
}
