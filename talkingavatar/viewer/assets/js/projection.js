/** All avatars as one camera sees them: a pass over their Gaussians, and depths on their way to the sort. */

import {Program, Target, WIDTH, rowsOf} from './gl.js';
import {WHOLE} from './shaders/common.js';
import {SPLAT_TEXELS} from './shaders/deform.js';
import {depths, project} from './shaders/draw.js';

/** @typedef {import('./passes.js').Instance} Instance */
/** @typedef {{viewmat: Float32Array, fx: number, fy: number, cx: number, cy: number, width: number, height: number}} Camera */

export class Projection {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {Instance[]} instances in the order of their texels; each begins a row
   */
  constructor(gl, instances) {
    this.gl = gl;
    this.instances = instances;
    this.firstRows = [];
    let rows = 0;
    for (const {shape} of instances) {
      this.firstRows.push(rows);
      rows += rowsOf(shape.count);
    }
    this.texels = rows * WIDTH;
    this.target = new Target(gl, this.texels, 4);
    this.depthTarget = new Target(gl, this.texels / 4, 1);
    this.programs = [false, true].map((surfels) => new Program(gl, WHOLE, project(surfels)));
    this.depthProgram = new Program(gl, WHOLE, depths);
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.buffer);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, 16 * WIDTH * this.depthTarget.rows, gl.STREAM_READ);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    this.fence = null;
  }

  /** @param {Camera} camera */
  run(camera) {
    this.instances.forEach((instance, i) => this.#project(instance, this.firstRows[i], camera));
    this.depthProgram.use({look: this.target.textures[1]});
    this.depthTarget.fill();
  }

  /** @returns {Float32Array} depths of all texels, 0 where nothing is seen; the GPU is waited for */
  readDepths() {
    return new Float32Array(this.depthTarget.read(0).buffer).subarray(0, this.texels);
  }

  /** Let the depths come when the GPU has them. */
  requestDepths() {
    const {gl} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.depthTarget.framebuffer);
    gl.readBuffer(gl.COLOR_ATTACHMENT0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.buffer);
    gl.readPixels(0, 0, WIDTH, this.depthTarget.rows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  /** @returns {Float32Array|null} those asked for, once they are there */
  receivedDepths() {
    const {gl} = this;
    if (!this.fence || gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return null;
    gl.deleteSync(this.fence);
    this.fence = null;
    const found = new Float32Array(this.texels);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.buffer);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, found);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    return found;
  }

  delete() {
    const {gl} = this;
    for (const target of [this.target, this.depthTarget]) target.delete();
    for (const program of [...this.programs, this.depthProgram]) gl.deleteProgram(program.handle);
    gl.deleteBuffer(this.buffer);
    if (this.fence) gl.deleteSync(this.fence);
  }

  #project(instance, firstRow, camera) {
    const {gl} = this;
    const {shape, tables, target, place} = instance;
    const program = this.programs[Number(shape.surfels)];
    const textures = {splats: tables.splats, harmonics: tables.harmonics ?? tables.splats};
    ['place', 'axis0', 'axis1', 'axis2'].forEach((name, i) => (textures[name] = target.textures[i]));
    const from = firstRow * WIDTH;
    program.use(textures, {from, count: shape.count, bands: shape.bands, texels: SPLAT_TEXELS});
    gl.uniformMatrix4fv(program.at('viewmat'), true, camera.viewmat);
    gl.uniform4f(program.at('K'), camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform2f(program.at('size'), camera.width, camera.height);
    gl.uniform3fv(program.at('eye'), eye(camera.viewmat));
    gl.uniform3fv(program.at('stands'), place);
    gl.uniform1f(program.at('away'), shape.away);
    gl.uniform1f(program.at('behind'), shape.behind);
    this.target.fill(firstRow, rowsOf(shape.count));
  }
}

/** Where a camera is, of its world-to-camera matrix. */
function eye(viewmat) {
  return [0, 1, 2].map((c) => -[0, 1, 2].reduce((sum, r) => sum + viewmat[4 * r + c] * viewmat[4 * r + 3], 0));
}
