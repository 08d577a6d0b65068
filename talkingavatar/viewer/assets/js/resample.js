/** Sound of any rate to 16 kHz, block after block: a windowed sinc that lets nothing above 7.5 kHz through. */

export const RATE = 16000;
const HALF = 24; // zero crossings of the sinc to each side
const PASS = 0.94; // of the highest frequency of 16 kHz

export class Resampler {
  /** @param {number} rate of what comes, at least 8 kHz */
  constructor(rate) {
    this.step = rate / RATE; // samples that come for one that goes
    this.cut = PASS * Math.min(1, RATE / rate); // of the highest frequency that comes
    this.reach = Math.ceil(HALF / this.cut);
    this.kept = new Float32Array(this.reach); // silence before the start
    this.first = -this.reach; // place of the first kept sample
    this.made = 0;
    this.tables = new Map();
  }

  /** Seconds between a sound and its place in what comes out, beside blocks. */
  get delay() {
    return this.reach / this.step / RATE;
  }

  /** @param {Float32Array} samples @returns {Float32Array} what they make certain */
  push(samples) {
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const end = this.first + all.length;
    const last = Math.floor((end - 1 - this.reach) / this.step);
    const out = new Float32Array(Math.max(0, last - this.made + 1));
    for (let i = 0; i < out.length; i++) out[i] = this.#at(all, (this.made + i) * this.step - this.first);
    this.made += out.length;
    const unheard = Math.max(0, Math.floor(this.made * this.step) - this.reach - this.first);
    this.kept = all.slice(unheard);
    this.first += unheard;
    return out;
  }

  #at(all, place) {
    const near = Math.floor(place);
    const weights = this.#weights(place - near);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) sum += weights[k] * (all[near - this.reach + 1 + k] ?? 0);
    return sum;
  }

  /** Of the samples round a place, by how far it lies past one; few such shares come up again and again. */
  #weights(share) {
    const key = Math.round(share * 4096);
    let weights = this.tables.get(key);
    if (!weights) {
      weights = Float32Array.from({length: 2 * this.reach}, (_, k) => this.#kernel(k - this.reach + 1 - key / 4096));
      const sum = weights.reduce((a, b) => a + b);
      weights = weights.map((v) => v / sum);
      this.tables.set(key, weights);
    }
    return weights;
  }

  #kernel(x) {
    if (Math.abs(x) >= this.reach) return 0;
    const turns = Math.PI * x * this.cut;
    const sinc = Math.abs(turns) < 1e-9 ? 1 : Math.sin(turns) / turns;
    return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / this.reach));
  }
}
