/** Quads of sorted Gaussians on a picture, and that on the canvas. */

import {Program} from './gl.js';
import {quads, splats} from './shaders/draw.js';

/** @typedef {import('./projection.js').Projection} Projection */

export class Picture {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.program = new Program(gl, quads, splats);
    this.order = gl.createBuffer();
    this.count = 0;
    this.vertices = gl.createVertexArray();
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    const place = gl.getAttribLocation(this.program.handle, 'order');
    gl.enableVertexAttribArray(place);
    gl.vertexAttribIPointer(place, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(place, 1);
    gl.bindVertexArray(null);
    const floats = gl.getExtension('EXT_color_buffer_float');
    const halves = floats ?? gl.getExtension('EXT_color_buffer_half_float');
    // Eight bits would be rounded at every layer. Blending into whole floats is an extension more.
    this.formats = {
      shown: halves ? gl.RGBA16F : gl.RGBA8,
      exact: floats && gl.getExtension('EXT_float_blend') ? gl.RGBA32F : halves ? gl.RGBA16F : gl.RGBA8,
    };
    this.pictures = {};
  }

  /** @param {Uint32Array} order texels of the projection, the farthest first */
  setOrder(order) {
    const {gl} = this;
    this.count = order.length;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.STREAM_DRAW);
  }

  /**
   * @param {Projection} projection
   * @param {{width: number, height: number}} size pixels
   * @param {number[]|null} background RGB; null: nothing
   */
  show(projection, size, background) {
    const {gl} = this;
    this.#draw('shown', projection, size, background);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, null);
    gl.blitFramebuffer(
      0, 0, size.width, size.height, 0, 0, size.width, size.height, gl.COLOR_BUFFER_BIT, gl.NEAREST,
    );
  }

  /** As `show`, but into floats. @returns {Float32Array} (H, W, 4), the upper row first; the GPU is waited for */
  exact(projection, size, background) {
    const {gl} = this;
    const {width, height} = size;
    this.#draw('exact', projection, size, background);
    const found = new Float32Array(4 * width * height);
    if (this.formats.exact === gl.RGBA8) {
      const bytes = new Uint8Array(found.length);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
      found.set(bytes.map((value) => value / 255));
    } else {
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.FLOAT, found);
    }
    this.#forget('exact');
    return upright(found, width, height);
  }

  delete() {
    const {gl} = this;
    Object.keys(this.pictures).forEach((name) => this.#forget(name));
    gl.deleteVertexArray(this.vertices);
    gl.deleteBuffer(this.order);
    gl.deleteProgram(this.program.handle);
  }

  #draw(name, projection, {width, height}, background) {
    const {gl, program} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#picture(name, width, height));
    gl.viewport(0, 0, width, height);
    gl.clearColor(...(background ?? [0, 0, 0]), background ? 1 : 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count) return;
    const textures = {};
    ['screen', 'look', 'shape0', 'shape1'].forEach((layer, i) => (textures[layer] = projection.target.textures[i]));
    program.use(textures);
    gl.uniform2f(program.at('size'), width, height);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.vertices);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    gl.bindVertexArray(null);
  }

  /** The framebuffer of that name, of this size. */
  #picture(name, width, height) {
    const {gl} = this;
    const old = this.pictures[name];
    if (old && old.width === width && old.height === height) return old.framebuffer;
    this.#forget(name);
    const framebuffer = gl.createFramebuffer();
    const buffer = gl.createRenderbuffer();
    gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
    gl.renderbufferStorage(gl.RENDERBUFFER, this.formats[name], width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, buffer);
    this.pictures[name] = {framebuffer, buffer, width, height};
    return framebuffer;
  }

  #forget(name) {
    const old = this.pictures[name];
    if (!old) return;
    this.gl.deleteFramebuffer(old.framebuffer);
    this.gl.deleteRenderbuffer(old.buffer);
    delete this.pictures[name];
  }
}

/** Rows the other way round: WebGL's first is the lowest. */
function upright(pixels, width, height) {
  const row = 4 * width;
  const turned = new Float32Array(pixels.length);
  for (let y = 0; y < height; y++) turned.set(pixels.subarray(row * y, row * (y + 1)), row * (height - 1 - y));
  return turned;
}
