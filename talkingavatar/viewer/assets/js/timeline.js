/** The bar of the capture's time, and what plays it. */

import {byId} from './controls.js';

const PLAY = 'M4 2.5v11l9-5.5z';
const PAUSE = 'M4 2.5h3v11H4zM9 2.5h3v11H9z';

export class Timeline {
  /** @param {import('./clock.js').Clock} clock @param {() => void} changed */
  constructor(clock, changed) {
    this.clock = clock;
    this.changed = changed;
    this.play = byId('play');
    this.input = byId('time');
    this.spans = byId('spans');
    this.play.addEventListener('click', () => this.toggle());
    this.input.addEventListener('input', () => {
      clock.time = Number(this.input.value);
      changed();
    });
    byId('speed').addEventListener('change', ({target}) => (clock.rate = Number(target.value)));
    addEventListener('keydown', (event) => {
      const busy = event.target.closest?.('input:not([type=range]), select, button, summary, textarea');
      if (event.code !== 'Space' || busy || byId('player').hidden) return;
      event.preventDefault();
      this.toggle();
    });
    this.colours = matchMedia('(prefers-color-scheme: dark)');
    this.colours.addEventListener('change', () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.spans);
  }

  /** @param {{heldout: number[][], frames: number, fps: number}} info */
  show(info) {
    this.info = info;
    this.input.max = this.clock.seconds;
    byId('player').hidden = this.clock.seconds === 0;
    this.spans.title = info.heldout.length ? 'Marked: frames held out, never trained on' : '';
    this.#draw();
  }

  async toggle() {
    if (this.clock.playing) this.clock.pause();
    else await this.clock.play();
    this.changed();
  }

  stop() {
    if (this.clock.playing) this.clock.pause();
  }

  /** Each frame of the screen. */
  update() {
    const {time, seconds, playing} = this.clock;
    this.input.value = time;
    const frame = Math.min(Math.floor(time * this.info.fps), this.info.frames - 1);
    const heldOut = this.info.heldout.some(([start, stop]) => frame >= start && frame < stop);
    const told = `${time.toFixed(2)} of ${seconds.toFixed(2)} seconds${heldOut ? ', held out' : ''}`;
    this.input.setAttribute('aria-valuetext', told);
    byId('clock').textContent = `${time.toFixed(2)} / ${seconds.toFixed(2)} s`;
    if (this.shown === playing) return;
    this.shown = playing;
    this.play.querySelector('path').setAttribute('d', playing ? PAUSE : PLAY);
    this.play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  }

  #draw() {
    const {spans, info} = this;
    if (!info) return;
    spans.width = spans.clientWidth * devicePixelRatio;
    spans.height = spans.clientHeight * devicePixelRatio;
    const pen = spans.getContext('2d');
    const colour = (name) => {
      spans.style.color = `var(--${name})`;
      return getComputedStyle(spans).color;
    };
    pen.fillStyle = colour('trained');
    pen.fillRect(0, 0, spans.width, spans.height);
    pen.fillStyle = colour('heldout');
    for (const [start, stop] of info.heldout) {
      pen.fillRect((start / info.frames) * spans.width, 0, ((stop - start) / info.frames) * spans.width, spans.height);
    }
  }
}
