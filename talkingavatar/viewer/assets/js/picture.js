/** Quads of sorted Gaussians on a picture, and that on the canvas. */

import {Program, rowsOf, storage, write} from './gl.js';
import {quads, splats} from './shaders/draw.js';

/** @typedef {import('./projection.js').Projection} Projection */

const TRIANGLES = [0, 1, 2, 2, 1, 3]; // of a quad's corners

export class Picture {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.program = new Program(gl, quads, splats);
    this.count = 0;
    this.capacity = 0;
    this.vertices = gl.createVertexArray();
    this.corners = gl.createBuffer();
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
    if (this.count > this.capacity) this.#reserve(this.count);
    gl.bindTexture(gl.TEXTURE_2D, this.order);
    write(gl, gl.RED_INTEGER, gl.UNSIGNED_INT, order, 1);
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
    gl.deleteBuffer(this.corners);
    gl.deleteTexture(this.order);
    gl.deleteProgram(this.program.handle);
  }

  #draw(name, projection, {width, height}, background) {
    const {gl, program} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#picture(name, width, height));
    gl.viewport(0, 0, width, height);
    gl.clearColor(...(background ?? [0, 0, 0]), background ? 1 : 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count) return;
    const textures = {order: this.order};
    ['screen', 'look', 'shape0', 'shape1'].forEach((layer, i) => (textures[layer] = projection.target.textures[i]));
    program.use(textures);
    gl.uniform2f(program.at('size'), width, height);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.vertices);
    gl.drawElements(gl.TRIANGLES, 6 * this.count, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
  }

  /** Room for so many quads: two triangles each of four corners in a row, which are faster than an instance a quad. */
  #reserve(count) {
    const {gl} = this;
    gl.deleteTexture(this.order);
    this.capacity = count;
    this.order = storage(gl, gl.R32UI, rowsOf(count));
    const corners = new Uint32Array(6 * count);
    for (let i = 0; i < corners.length; i++) corners[i] = 4 * Math.floor(i / 6) + TRIANGLES[i % 6];
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.corners);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
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
