/** An avatar that speaks as it hears: sound goes up, frames come down, both on the sound's clock. */

import {heardNow} from './clock.js';
import {RATE} from './resample.js';
import {liveAddress} from './source.js';

const SOUND = 2; // kinds of messages, `viewer.wire`
const HEADER = 16;
const BLOCK = 320;
const WAIT = 0.06; // seconds beside the look-ahead, for the way there and back
const MOST = 1.0; // seconds by which the wait may grow
const LATE = 0.02; // seconds after the newest frame, from which one is missed
const UNSENT = 64000; // bytes, two seconds: beyond it sound is left out
const KEPT = 250; // frames; a driver may draw a window of them at once

export class Live {
  /**
   * @param {number} number of the avatar
   * @param {import('./motion.js').Layout} layout
   */
  constructor(number, layout) {
    this.layout = layout;
    /** @type {(text: string) => void} called when speech ends by a fault */
    this.failed = () => {};
    this.address = liveAddress(number);
    this.frames = []; // {time, row}, the oldest first
    this.counts = {};
    this.underruns = 0;
    this.starving = false;
    this.lost = 0; // blocks
    this.sent = 0;
    this.delay = WAIT;
    this.began = null; // of the context's clock, when the stream's first sample was heard
    this.end = 0; // samples of the stream so far
  }

  get speaking() {
    return this.began !== null;
  }

  /** @returns {Promise<void>} once the server has said hello */
  open() {
    if (this.socket?.readyState <= WebSocket.OPEN) return this.opened;
    this.socket = new WebSocket(this.address);
    this.socket.binaryType = 'arraybuffer';
    this.opened = new Promise((done, failed) => {
      this.socket.onmessage = ({data}) => {
        if (typeof data !== 'string') return this.#take(data);
        const said = JSON.parse(data);
        if ('hello' in said) {
          this.fps = said.hello?.fps;
          this.prompted = said.hello?.prompted ?? false;
          this.least = this.delay = (said.hello?.lookahead ?? 0) + WAIT;
          if (this.words) this.socket.send(JSON.stringify({prompt: this.words})); // the last connection knew them
          done();
        }
        this.#read(said);
      };
      this.socket.onclose = () => {
        failed(new Error('The connection has ended.'));
        if (this.speaking) this.failed('The connection has ended.');
      };
    });
    return this.opened;
  }

  /** @param {string} text @returns {Promise<Object>} what it was understood as */
  async prompt(text) {
    await this.open();
    return new Promise((done, failed) => {
      this.waiting = {done, failed};
      this.words = text;
      this.socket.send(JSON.stringify({prompt: text}));
    });
  }

  /** Nothing is asked any more. */
  unprompt() {
    this.words = '';
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({prompt: null}));
  }

  /** Whether what is asked in words is in the frames that come. */
  get answers() {
    return this.speaking && this.prompted;
  }

  /**
   * Sound from the worklet, of a new stream the first time.
   * @param {{block: Int16Array, at: number}} heard
   * @param {AudioContext} context
   */
  send({block, at}, context) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (this.began === null) {
      this.context = context;
      this.end = Math.ceil(this.end / BLOCK) * BLOCK + RATE; // later than all before: the voice begins anew
      this.began = at - (this.end + BLOCK) / RATE;
      this.frames = [];
    }
    const time = this.end / RATE;
    this.end += block.length;
    if (this.socket.bufferedAmount > UNSENT) {
      this.lost++;
      return;
    }
    const message = new DataView(new ArrayBuffer(HEADER + 2 * block.length));
    message.setUint8(0, SOUND);
    message.setUint16(2, block.length, true);
    message.setUint32(4, this.sent++, true);
    message.setFloat64(8, time, true);
    new Int16Array(message.buffer, HEADER).set(block);
    this.socket.send(message.buffer);
  }

  /** The stream ends; what was heard stays said. */
  stop() {
    this.began = null;
  }

  /**
   * The frame whose sound is heard now, `delay` after it was said.
   * @param {boolean} monitored whether it is heard from a loudspeaker
   * @returns {import('./motion.js').Frame|null} null before the first
   */
  frame(monitored) {
    if (!this.speaking || !this.frames.length) return null;
    const {context, frames} = this;
    const now = monitored ? heardNow(context) : context.currentTime;
    const time = now - this.began - this.delay;
    while (frames.length > 2 && frames[1].time <= time) frames.shift();
    const [first, second] = frames;
    this.#wait(time - frames.at(-1).time);
    if (!second || time <= first.time) return this.layout.frame(first.row.slice());
    const share = Math.min((time - first.time) / (second.time - first.time), 1);
    return this.layout.frame(this.layout.between(first.row, second.row, share));
  }

  /** Where nothing newer was there in time the same frame stays, and the wait grows a little. */
  #wait(late) {
    const starving = late > LATE;
    if (starving && !this.starving) this.underruns++;
    if (starving) this.delay = Math.min(this.delay + LATE, this.least + MOST);
    this.starving = starving;
  }

  #take(data) {
    const view = new DataView(data);
    const count = view.getUint16(2, true);
    const sequence = view.getUint32(4, true);
    const time = view.getFloat64(8, true);
    const rows = new Float32Array(data, HEADER);
    const {width} = this.layout;
    if (rows.length !== count * width) return;
    for (let i = 0; i < count; i++) {
      this.frames.push({time: time + i / this.fps, row: rows.subarray(i * width, (i + 1) * width)});
    }
    while (this.frames.length > KEPT) this.frames.shift();
    this.socket.send(JSON.stringify({seen: sequence + 1}));
  }

  #read(said) {
    if (said.counts) this.counts = said.counts;
    if (said.prompt) this.waiting?.done(said.prompt);
    if (said.error && this.waiting) this.waiting.failed(new Error(said.error));
    else if (said.error && this.speaking) this.failed(said.error);
    if (said.prompt || said.error) this.waiting = null;
  }
}
