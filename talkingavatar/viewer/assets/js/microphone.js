/** In the sound's own thread: what is heard, as 16 kHz blocks of 20 ms. */

import {Resampler} from './resample.js';

const BLOCK = 320;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.block = new Int16Array(BLOCK);
    this.filled = 0;
  }

  process([input]) {
    const samples = this.resampler.push(mono(input));
    for (const sample of samples) {
      this.block[this.filled++] = Math.round(32767 * Math.min(Math.max(sample, -1), 1));
      if (this.filled === BLOCK) {
        this.port.postMessage({block: this.block, at: currentTime}, [this.block.buffer]);
        this.block = new Int16Array(BLOCK);
        this.filled = 0;
      }
    }
    return true;
  }
}

/** @param {Float32Array[]} channels none while nothing is connected */
function mono(channels) {
  if (!channels.length) return new Float32Array(128);
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor('microphone', Microphone);
