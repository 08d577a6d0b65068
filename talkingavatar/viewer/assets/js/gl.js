/** What the passes need of a WebGL2 context: programs, tables of numbers, targets of float bits. */

export const WIDTH = 2048; // texels in a row of every table and target: what each WebGL2 has at least
const NEWLINE = /\n/g;

/**
 * A context, or a sentence why there is none.
 * @param {HTMLCanvasElement} canvas
 * @returns {WebGL2RenderingContext}
 * @throws {Error} this browser has no WebGL2
 */
export function context(canvas) {
  const options = {alpha: true, antialias: false, depth: false, powerPreference: 'high-performance'};
  const gl = canvas.getContext('webgl2', options);
  if (gl) return gl;
  throw new Error('This browser has no WebGL2: open the page in a current Chrome, Edge, Firefox or Safari, '
    + 'with hardware acceleration on');
}

/** Vertex and fragment shader in one, and where its uniforms are. */
export class Program {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {string} vertex
   * @param {string} fragment
   * @throws {Error} the browser's compiler refuses it
   */
  constructor(gl, vertex, fragment) {
    this.gl = gl;
    this.handle = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.handle, shader);
      gl.deleteShader(shader); // goes with the program
    }
    gl.linkProgram(this.handle);
    if (!gl.getProgramParameter(this.handle, gl.LINK_STATUS) && !gl.isContextLost()) {
      const logs = gl.getAttachedShaders(this.handle).map((shader) => gl.getShaderInfoLog(shader));
      throw new Error(`This browser refuses a shader: ${[...logs, gl.getProgramInfoLog(this.handle)].join(' ')}`
        .replace(NEWLINE, ' '));
    }
    this.places = new Map();
  }

  /** @param {string} name */
  at(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.handle, name));
    return this.places.get(name);
  }

  /**
   * Use it, with its textures and numbers; a number is a whole one.
   * @param {Record<string, WebGLTexture>} textures
   * @param {Record<string, number>} integers
   */
  use(textures, integers = {}) {
    const {gl} = this;
    gl.useProgram(this.handle);
    Object.entries(textures).forEach(([name, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(this.at(name), unit);
    });
    for (const [name, value] of Object.entries(integers)) gl.uniform1i(this.at(name), value);
  }
}

/** @param {number} texels */
export function rowsOf(texels) {
  return Math.max(1, Math.ceil(texels / WIDTH));
}

/**
 * A texture whose texels are read by number, `WIDTH` in a row.
 * @param {WebGL2RenderingContext} gl
 * @param {Float32Array|Uint16Array} data four numbers a texel: floats, or the bits of halves
 * @returns {WebGLTexture}
 * @throws {Error} more than this browser's textures hold
 */
export function table(gl, data) {
  const half = data instanceof Uint16Array;
  const texture = storage(gl, half ? gl.RGBA16F : gl.RGBA32F, rowsOf(data.length / 4));
  write(gl, gl.RGBA, half ? gl.HALF_FLOAT : gl.FLOAT, data, 4);
  return texture;
}

/**
 * Numbers of the bound texture's first texels.
 * @param {WebGL2RenderingContext} gl
 * @param {number} format
 * @param {number} kind
 * @param {Float32Array|Uint16Array|Uint32Array} data
 * @param {number} size numbers a texel
 */
export function write(gl, format, kind, data, size) {
  const whole = Math.floor(data.length / size / WIDTH);
  const rest = data.length / size - whole * WIDTH;
  const first = data.subarray(0, whole * WIDTH * size);
  if (whole) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, WIDTH, whole, format, kind, first);
  if (rest) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, whole, rest, 1, format, kind, data.subarray(first.length));
}

/** Textures of whole numbers that one pass writes and others read, four floats' bits a texel. */
export class Target {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {number} texels
   * @param {number} layers textures, four at most
   */
  constructor(gl, texels, layers) {
    this.gl = gl;
    this.rows = rowsOf(texels);
    this.textures = Array.from({length: layers}, () => storage(gl, gl.RGBA32UI, this.rows));
    this.framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    const places = this.textures.map((texture, i) => {
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, gl.TEXTURE_2D, texture, 0);
      return gl.COLOR_ATTACHMENT0 + i;
    });
    gl.drawBuffers(places);
  }

  /**
   * Run the program in use over whole rows.
   * @param {number} first row
   * @param {number} rows
   */
  fill(first = 0, rows = this.rows) {
    const {gl} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.viewport(0, first, WIDTH, rows);
    gl.disable(gl.BLEND);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /**
   * Bits of a layer; the GPU is waited for.
   * @param {number} layer
   * @returns {Uint32Array}
   */
  read(layer) {
    const {gl} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.readBuffer(gl.COLOR_ATTACHMENT0 + layer);
    const bits = new Uint32Array(WIDTH * this.rows * 4);
    gl.readPixels(0, 0, WIDTH, this.rows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, bits);
    return bits;
  }

  delete() {
    this.textures.forEach((texture) => this.gl.deleteTexture(texture));
    this.gl.deleteFramebuffer(this.framebuffer);
  }
}

/**
 * A texture of that many rows, bound.
 * @param {WebGL2RenderingContext} gl
 * @param {number} format
 * @param {number} rows
 * @returns {WebGLTexture}
 * @throws {Error} more than this browser's textures hold
 */
export function storage(gl, format, rows) {
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  if (rows > most) throw new Error(`An avatar too large for this browser: ${rows} rows of a texture, ${most} at most`);
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, format, WIDTH, rows);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  return texture;
}
