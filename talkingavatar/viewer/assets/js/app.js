/** The page: avatars on a stage, one clock, and hands on their faces. */

import {bench, sentence} from './bench.js';
import {Clock} from './clock.js';
import {byId, fill, ranged, teller} from './controls.js';
import {Hands} from './face.js';
import {Performer} from './performer.js';
import {Recorder, download} from './save.js';
import {Sliders} from './sliders.js';
import {Sound} from './sound.js';
import {bytes, json} from './source.js';
import {Stage} from './stage.js';
import {Talk} from './talk.js';
import {Timeline} from './timeline.js';

const TOGETHER = 4; // avatars that stand side by side of themselves
const FREE = 'free';
const STATS = 500; // milliseconds between two looks at the speed
const ROUND = (value, digits) => Number(value.toFixed(digits));

class App {
  constructor() {
    this.hands = new Hands();
    this.asks = [];
    this.performers = [];
    this.sound = new Sound();
    this.message = byId('message');
    this.done = teller('done');
    this.dirty = true;
  }

  /** @param {string} text over the stage; none: it goes */
  say(text) {
    this.message.textContent = text;
  }

  async start() {
    this.stage = new Stage(() => this.#cameraFreed());
    const {canvas} = this.stage;
    canvas.addEventListener('webglcontextlost', () => this.say('The browser has taken the GPU away; it comes back…'));
    canvas.addEventListener('webglcontextrestored', () => this.say(''));
    const {avatars, face} = await json('/avatars.json');
    this.table = face;
    this.avatars = avatars;
    this.#build();
    const query = new URLSearchParams(location.search);
    const asked = query.get('avatars')?.split(',').map(Number);
    const together = avatars.every(({open}) => open) && avatars.length <= TOGETHER;
    const shown = this.show(asked ?? (together ? avatars.map((_, number) => number) : [0]));
    if (query.has('bench')) await shown.then(() => this.#bench(Number(query.get('bench'))));
    requestAnimationFrame(() => this.#tick());
    await shown;
  }

  /** Draw as fast as this browser can, and say how fast that was. @param {number} frames 1: as many as are usual */
  async #bench(frames) {
    this.say('Measuring…');
    this.stage.draw(0); // through its camera
    const move = (number) => this.performers.forEach(({motion, info, avatar, instance}) => {
      instance.setFrame(motion ? motion.at((number / info.fps) % motion.seconds) : avatar.restingFrame());
    });
    globalThis.report = await bench(this.stage.renderer, move, frames > 1 ? frames : undefined);
    this.say(sentence(globalThis.report));
  }

  /** @param {number[]} numbers of the server's avatars */
  async show(numbers) {
    this.say('Opening…');
    this.talk?.stop();
    this.timeline?.stop();
    this.performers = [];
    const performers = await Promise.all(numbers.map((number) => Performer.open(number, this.table)));
    this.stage.show(performers);
    const [first] = performers;
    this.clock = new Clock(Math.max(0, ...performers.map(({motion}) => motion?.seconds ?? 0)));
    if (first.info.sound) {
      const buffer = await this.sound.decoded(await bytes(`/avatars/${first.number}/sound.wav`));
      this.clock.hear(this.sound.context, buffer, this.sound.out);
    }
    this.performers = performers;
    this.timeline = this.timeline ?? new Timeline(this.clock, () => (this.dirty = true));
    this.timeline.clock = this.clock;
    this.clock.rate = Number(byId('speed').value);
    this.timeline.show(first.info);
    this.sliders.build(first.face);
    this.sliders.show();
    this.#fit(performers);
    this.say('');
    this.dirty = true;
  }

  /** What of the panel there is something for. */
  #fit(performers) {
    const [{info, face, live}] = performers;
    const speaks = performers.find((performer) => performer.live && performer.info.live);
    const there = {pictures: info.pictures && performers.length === 1, live: speaks, words: face.named && live};
    for (const part of document.querySelectorAll('[data-needs]')) part.hidden = !there[part.dataset.needs];
    byId('blendRow').hidden = true;
    byId('compare').value = this.stage.compare = 'off';
    byId('title').textContent = performers.map((performer) => performer.info.name).join(' · ');
    document.title = byId('title').textContent;
    byId('choice').querySelector('select').value = performers.map(({number}) => number).join();
    const cameras = this.stage.cameras.map(({name}, number) => ({value: String(number), text: `recorded: ${name}`}));
    fill(byId('camera'), [{value: FREE, text: 'by hand'}, ...cameras]);
    this.talk = speaks && new Talk(speaks.live, this.sound, () => this.timeline.stop());
    this.fov.set(Math.round(this.stage.orbit.fov));
    const {background} = info;
    byId('background').value = `#${background.map((v) => Math.round(255 * v).toString(16).padStart(2, '0')).join('')}`;
    this.stage.renderer.background = background;
    this.done(info.notes.join('\n'));
  }

  #build() {
    this.sliders = new Sliders(byId('sliders'), this.hands, () => (this.dirty = true));
    byId('search').addEventListener('input', ({target}) => this.sliders.search(target.value));
    const percent = (v) => `${Math.round(100 * v)} %`;
    this.share = ranged('faceShare', percent, (value) => this.#change(() => (this.hands.recorded = value)));
    this.fov = ranged('fov', (v) => `${v}°`, (value) => {
      this.stage.orbit.fov = value;
      byId('camera').value = FREE;
      this.stage.lookThrough(null);
    });
    ranged('blend', percent, (value) => (this.stage.blend = value));
    byId('camera').onchange = ({target}) => this.#lookThrough(target.value);
    byId('compare').onchange = ({target}) => this.#compare(target.value);
    byId('background').oninput = ({target}) => {
      this.stage.renderer.background = [1, 3, 5].map((at) => parseInt(target.value.slice(at, at + 2), 16) / 255);
    };
    byId('words').onsubmit = (event) => {
      event.preventDefault();
      this.#ask(byId('prompt').value.trim());
    };
    this.#choices();
    this.#buttons();
  }

  #choices() {
    const select = byId('choice').querySelector('select');
    byId('choice').hidden = this.avatars.length < 2;
    const all = this.avatars.map((_, number) => number);
    const each = this.avatars.map(({name}, number) => ({value: String(number), text: name}));
    const together = all.length <= TOGETHER ? [{value: all.join(), text: 'all, side by side'}] : [];
    fill(select, [...together, ...each]);
    select.onchange = () => this.show(select.value.split(',').map(Number)).catch((error) => this.say(error.message));
  }

  #buttons() {
    byId('reset').onclick = () => this.#change(() => {
      this.hands.clear();
      this.#unask();
    });
    byId('mirror').onclick = () => this.#change(() => this.hands.mirror());
    byId('copy').onclick = () => this.#copy();
    byId('load').onclick = () => byId('faceFile').click();
    byId('faceFile').onchange = async ({target}) => {
      const [file] = target.files;
      if (file) this.load(await file.text());
      target.value = '';
    };
    byId('picture').onclick = async () => download(await this.stage.picture(), `${document.title}.png`);
    byId('clip').onclick = () => this.#record();
  }

  /** @param {string} text of `copy` */
  load(text) {
    try {
      this.#change(() => this.hands.take(JSON.parse(text)));
      this.done('Loaded.');
    } catch (error) {
      this.done(error instanceof SyntaxError ? 'This is no JSON.' : error.message, true);
    }
  }

  async #copy() {
    const text = JSON.stringify(this.hands.told(), null, 1);
    try {
      await navigator.clipboard.writeText(text);
      this.done('Copied as JSON.');
    } catch { // a browser that gives the clipboard to secure pages only
      download(new Blob([text], {type: 'application/json'}), 'face.json');
    }
  }

  async #record() {
    const button = byId('clip');
    const {recorder} = this;
    button.setAttribute('aria-pressed', String(!recorder));
    button.textContent = recorder ? 'Record' : 'Stop recording';
    if (!recorder) {
      this.recorder = new Recorder(this.stage.canvas, this.sound.stream());
      return;
    }
    this.recorder = null;
    const {content, ending} = await recorder.stop();
    download(content, `${document.title}.${ending}`);
  }

  async #ask(text) {
    const tell = teller('asked');
    if (!text) {
      this.#unask();
      return;
    }
    try {
      const {asks, notes} = await this.performers[0].live.prompt(text);
      this.asks = asks;
      this.askedAt = performance.now() / 1000;
      this.dirty = true;
      tell([`Asked: ${text}`, ...notes].join('\n'));
    } catch (error) {
      tell(error.message, true);
    }
  }

  #unask() {
    this.asks = [];
    this.performers[0]?.live?.unprompt();
    this.dirty = true;
    teller('asked')('');
  }

  #change(change) {
    change();
    this.sliders.show();
    this.share.set(this.hands.recorded);
    this.dirty = true;
  }

  #cameraFreed() {
    byId('camera').value = FREE;
    this.fov.set(Math.round(this.stage.orbit.fov));
  }

  #lookThrough(value) {
    this.stage.lookThrough(value === FREE ? null : Number(value), this.frame);
    this.fov.set(Math.round(this.stage.orbit.fov));
  }

  #compare(value) {
    this.stage.compare = value;
    byId('blendRow').hidden = value !== 'blend';
    if (value !== 'off' && !this.stage.recorded && this.stage.cameras.length) {
      byId('camera').value = '0';
      this.#lookThrough('0');
    }
  }

  /** @returns {number} of the first avatar's capture */
  get frame() {
    return this.performers[0].numberAt(this.clock.time);
  }

  #tick() {
    requestAnimationFrame(() => this.#tick());
    if (!this.performers.length) return;
    const talking = this.performers.some(({live}) => live?.speaking);
    const free = talking || !this.clock.seconds; // prompts count from when they were asked
    if (this.dirty || this.clock.playing || talking || (free && this.asks.length)) this.#move(free);
    this.dirty = false;
    this.talk?.update();
    this.timeline.update();
    this.stage.draw(Math.max(this.frame, 0));
    this.#stats();
  }

  #move(free) {
    const {time} = this.clock;
    const asked = free ? performance.now() / 1000 - this.askedAt : time;
    for (const performer of this.performers) {
      const frame = performer.frame(time, this.talk?.monitored ?? false);
      performer.face.apply(frame, this.hands, performer.live?.answers ? [] : this.asks, asked);
      performer.instance.setFrame(frame);
    }
  }

  #stats() {
    const now = performance.now();
    if (now - (this.looked ?? 0) < STATS) return;
    this.looked = now;
    const {fps, sortMs, gpuMs, gaussians} = this.stage.renderer.stats;
    const gpu = gpuMs === null ? '' : ` · GPU ${ROUND(gpuMs, 1)} ms`;
    const speed = fps ? `${fps} fps · sort ${ROUND(sortMs, 1)} ms${gpu}` : 'at rest';
    byId('stats').textContent = `${gaussians.toLocaleString('en')} Gaussians · ${speed}`;
  }
}

const app = new App();
globalThis.app = app; // for who looks in from the console
app.start().catch((error) => app.say(error.message));
