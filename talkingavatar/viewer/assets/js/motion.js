/** Frames that move an avatar, at any time between them. */

/** @typedef {{quats: Float32Array, transl: Float32Array, expression: Float32Array, residual: Float32Array}} Frame */

/** How the numbers of a row are shared out. */
export class Layout {
  /** @param {{joints: number, expressions: number, coefficients: number}} counts */
  constructor({joints, expressions, coefficients}) {
    this.ends = [4 * joints, 4 * joints + 3, 4 * joints + 3 + expressions, 4 * joints + 3 + expressions + coefficients];
  }

  get width() {
    return this.ends[3];
  }

  /**
   * @param {Float32Array} row
   * @returns {Frame}
   */
  frame(row) {
    const [quats, transl, expression, residual] = this.ends;
    return {
      quats: row.subarray(0, quats),
      transl: row.subarray(quats, transl),
      expression: row.subarray(transl, expression),
      residual: row.subarray(expression, residual),
    };
  }

  /** Between two rows; quaternions the short way, made unit. @returns {Float32Array} */
  between(first, second, share) {
    const row = new Float32Array(this.width);
    for (let i = 0; i < row.length; i++) row[i] = first[i] + share * (second[i] - first[i]);
    for (let at = 0; at < this.ends[0]; at += 4) turnBetween(first, second, share, at, row);
    return row;
  }
}

export class Motion {
  /**
   * @param {Layout} layout
   * @param {Float32Array} rows
   * @param {number} fps
   */
  constructor(layout, rows, fps) {
    if (rows.length % layout.width) throw new Error('The motion is of another avatar.');
    this.layout = layout;
    this.rows = rows;
    this.fps = fps;
    this.count = rows.length / layout.width;
  }

  get seconds() {
    return this.count / this.fps;
  }

  /** @param {number} seconds @returns {Frame} */
  at(seconds) {
    const place = Math.min(Math.max(seconds * this.fps, 0), this.count - 1);
    const first = Math.floor(place);
    if (place === first) return this.layout.frame(this.#row(first).slice());
    return this.layout.frame(this.layout.between(this.#row(first), this.#row(first + 1), place - first));
  }

  #row(number) {
    const {width} = this.layout;
    return this.rows.subarray(number * width, (number + 1) * width);
  }
}

function turnBetween(first, second, share, at, out) {
  let dot = 0;
  for (let k = 0; k < 4; k++) dot += first[at + k] * second[at + k];
  const sign = dot < 0 ? -1 : 1;
  let length = 0;
  for (let k = 0; k < 4; k++) {
    out[at + k] = (1 - share) * first[at + k] + share * sign * second[at + k];
    length += out[at + k] ** 2;
  }
  const scale = length > 0 ? 1 / Math.sqrt(length) : 1;
  for (let k = 0; k < 4; k++) out[at + k] *= scale;
}
