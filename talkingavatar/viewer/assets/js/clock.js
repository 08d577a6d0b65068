/** One clock for all that moves: that of the sound which is heard, or of the screen where there is none. */

export class Clock {
  #from = 0; // seconds of the recording, when it last started or stopped
  #began = 0; // seconds of the running clock, then
  #rate = 1;
  #source = null;

  /** @param {number} seconds of the recording */
  constructor(seconds) {
    this.seconds = seconds;
    this.playing = false;
    /** @type {AudioContext|null} */
    this.context = null;
    this.buffer = null;
  }

  /** @param {AudioContext} context @param {AudioBuffer} buffer @param {AudioNode} out */
  hear(context, buffer, out) {
    this.context = context;
    this.buffer = buffer;
    this.out = out;
  }

  /** Seconds of the recording whose sound is heard now. It starts again at the end. */
  get time() {
    if (!this.playing) return this.#from;
    const time = this.#from + Math.max(this.#now() - this.#began, 0) * this.#rate;
    if (time < this.seconds) return time;
    this.#start(0);
    return 0;
  }

  set time(seconds) {
    const there = Math.min(Math.max(seconds, 0), this.seconds);
    if (this.playing) this.#start(there);
    else this.#from = there;
  }

  set rate(rate) {
    const {time} = this;
    this.#rate = rate;
    this.time = time;
  }

  async play() {
    await this.context?.resume();
    this.playing = true;
    this.#start(this.#from >= this.seconds ? 0 : this.#from);
  }

  pause() {
    const {time} = this;
    this.#silence();
    this.playing = false;
    this.#from = time;
  }

  /** What leaves the loudspeaker now, in the context's seconds. */
  #now() {
    return this.context ? heardNow(this.context) : performance.now() / 1000;
  }

  #start(from) {
    this.#silence();
    this.#from = from;
    this.#began = this.context ? this.context.currentTime : performance.now() / 1000;
    if (!this.buffer || from >= this.buffer.duration) return;
    this.#source = new AudioBufferSourceNode(this.context, {buffer: this.buffer, playbackRate: this.#rate});
    this.#source.connect(this.out);
    this.#source.start(this.#began, from);
  }

  #silence() {
    this.#source?.stop();
    this.#source?.disconnect();
    this.#source = null;
  }
}

/**
 * The moment of a context's clock that is heard now: what it plays leaves the loudspeaker later.
 * @param {AudioContext} context
 */
export function heardNow(context) {
  const stamp = context.getOutputTimestamp?.();
  if (stamp?.performanceTime > 0) return stamp.contextTime + (performance.now() - stamp.performanceTime) / 1000;
  return context.currentTime - (context.outputLatency || context.baseLatency || 0);
}
