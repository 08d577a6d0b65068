/** A .glb file: its JSON, and the arrays in its binary chunk. */

const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BINARY_CHUNK = 0x004e4942;
const KINDS = {
  float32: Float32Array, float16: Uint16Array, int32: Int32Array, uint32: Uint32Array, uint16: Uint16Array, uint8: Uint8Array,
};
const SIZES = {SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4};
const FLOAT = 5126;

/**
 * Numbers of one array of a file. Those of `half` are the bits of 16-bit floats.
 * @typedef {{data: Float32Array|Uint16Array|Int32Array|Uint32Array|Uint8Array, shape: number[], half: boolean}} Numbers
 */

/** What a file is, once its frame is known to be whole. */
export class Glb {
  /**
   * @param {ArrayBuffer} buffer
   * @param {string} name what the file is called in what is said of it
   * @throws {Error} not a .glb, or cut off
   */
  constructor(buffer, name) {
    this.name = name;
    const view = new DataView(buffer);
    if (buffer.byteLength < 20 || view.getUint32(0, true) !== MAGIC) throw new Error(`${name}: not a .glb file`);
    const length = view.getUint32(8, true);
    if (length > buffer.byteLength) {
      throw new Error(`${name}: cut off, ${buffer.byteLength} bytes of ${length}: copy or load it again`);
    }
    for (let start = 12; start + 8 <= length;) {
      const size = view.getUint32(start, true);
      const kind = view.getUint32(start + 4, true);
      if (start + 8 + size > length) throw this.damaged();
      if (kind === JSON_CHUNK) this.document = this.#parsed(new Uint8Array(buffer, start + 8, size));
      if (kind === BINARY_CHUNK) this.binary = {buffer, start: start + 8, size};
      start += 8 + size;
    }
    if (!this.document || !this.binary) throw this.damaged();
  }

  /** @returns {Error} that says so */
  damaged() {
    return new Error(`${this.name}: damaged: export it again`);
  }

  /** @returns {object} extras of the asset */
  get extras() {
    return this.document.asset?.extras ?? {};
  }

  /**
   * An array that lies in a buffer view of its own.
   * @param {{view: number, dtype: string, shape: number[]}} entry
   * @returns {Numbers}
   * @throws {Error} it does not lie in the file whole
   */
  array({view, dtype, shape}) {
    const Kind = KINDS[dtype];
    const found = this.document.bufferViews?.[view];
    if (!Kind) throw new Error(`${this.name}: numbers of type ${dtype}, which this page does not know: update it`);
    if (!found) throw this.damaged();
    return {data: this.#numbers(Kind, found.byteOffset ?? 0, product(shape)), shape, half: dtype === 'float16'};
  }

  /**
   * The numbers of a glTF accessor of floats, tightly packed.
   * @param {number} index
   * @returns {Numbers}
   */
  accessor(index) {
    const {bufferView, byteOffset = 0, componentType, count, type} = this.document.accessors?.[index] ?? {};
    const view = this.document.bufferViews?.[bufferView];
    if (!view || componentType !== FLOAT) throw this.damaged();
    const shape = [count, SIZES[type]];
    return {data: this.#numbers(Float32Array, (view.byteOffset ?? 0) + byteOffset, product(shape)), shape, half: false};
  }

  #numbers(Kind, offset, count) {
    const {buffer, start, size} = this.binary;
    if (!Number.isInteger(count) || offset + count * Kind.BYTES_PER_ELEMENT > size) throw this.damaged();
    const place = start + offset;
    if (place % Kind.BYTES_PER_ELEMENT === 0) return new Kind(buffer, place, count);
    return new Kind(buffer.slice(place, place + count * Kind.BYTES_PER_ELEMENT));
  }

  #parsed(bytes) {
    try {
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw this.damaged();
    }
  }
}

/** @param {number[]} shape */
function product(shape) {
  return shape.reduce((all, one) => all * one, 1);
}

/**
 * Values of 16-bit floats, of their bits.
 * @param {Uint16Array} bits
 * @returns {Float32Array}
 */
export function fromHalf(bits) {
  return Float32Array.from(bits, (h) => {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * 2 ** (exponent - 25) * (1024 + fraction);
  });
}
