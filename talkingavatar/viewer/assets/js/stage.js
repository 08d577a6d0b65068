/** What is drawn: avatars side by side, by a camera, with the recorded picture beside or over them. */

import {byId} from './controls.js';
import {Orbit, fitted} from './orbit.js';
import {Renderer} from './renderer.js';
import {address} from './source.js';

const SHARPEST = 2; // pixels of the picture a pixel of the page
const APART = 1.8; // of the extent of most of two, between their middles
const AWAY = 3.2; // of an avatar's extent, from where it is looked at first

export class Stage {
  /** @param {() => void} freed called when a hand takes the camera from the capture's place */
  constructor(freed) {
    this.canvas = byId('canvas');
    this.truth = byId('truth');
    this.renderer = new Renderer(this.canvas);
    this.recorded = null; // the camera of the capture that is looked through
    this.compare = 'off';
    this.blend = 0.5;
    this.orbit = new Orbit(this.canvas, () => {
      if (this.recorded) {
        this.recorded = null;
        freed();
      }
      this.changed = true;
    });
    new ResizeObserver(() => (this.changed = true)).observe(this.canvas);
  }

  /** @param {import('./performer.js').Performer[]} performers */
  show(performers) {
    for (const instance of [...this.renderer.instances]) this.renderer.remove(instance);
    this.performers = performers;
    let [edge, before] = [0, 0];
    const places = performers.map(({centre, size}, number) => {
      edge += number ? (APART * (before + size[0])) / 2 : 0;
      before = size[0];
      return edge - centre[0];
    });
    const shift = performers[0].centre[0] - edge / 2; // the middle of all is where the first would be
    performers.forEach((performer, number) => {
      const aside = performers.length > 1 ? places[number] + shift : 0;
      performer.instance = this.renderer.add(performer.avatar, {place: [aside, 0, 0]});
    });
    const [{info, centre, size}] = performers;
    this.cameras = performers.length === 1 ? info.cameras : [];
    const [camera] = info.cameras;
    if (camera) this.orbit.follow(camera.viewmats[0], camera.Ks[0], camera.height, centre);
    else this.orbit.look({target: centre, eye: [centre[0], centre[1], centre[2] + AWAY * Math.max(...size)]});
    if (edge) this.orbit.widen(1.2 * edge + APART * size[0], this.canvas.clientWidth / this.canvas.clientHeight);
    this.changed = true;
  }

  /** @param {number|null} number of the capture's cameras; null: round by hand */
  lookThrough(number, frame) {
    this.recorded = number === null ? null : this.cameras[number];
    this.changed = true;
    if (!this.recorded) return;
    const {viewmats, Ks, height} = this.recorded;
    const of = (rows) => rows[Math.min(frame, rows.length - 1)];
    this.orbit.follow(of(viewmats), of(Ks), height, this.performers[0].centre);
  }

  /** @param {number} frame of the capture that is shown */
  draw(frame) {
    const scale = Math.min(devicePixelRatio, SHARPEST);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width || !height) return;
    const size = [Math.round(width * scale), Math.round(height * scale)];
    if (this.recorded) {
      const moving = this.recorded.viewmats.length > 1;
      const {camera, box} = fitted(this.recorded, frame, ...size);
      if (this.changed || moving) this.renderer.camera = camera;
      this.box = Object.fromEntries(Object.entries(box).map(([side, value]) => [side, value / scale]));
    } else if (this.changed) this.renderer.camera = this.orbit.camera(...size);
    this.changed = false;
    this.renderer.draw();
    this.#compare(frame);
  }

  /** @returns {Promise<Blob>} what is seen, every Gaussian in its order */
  async picture() {
    const {width, height} = this.renderer.camera;
    const pixels = await this.renderer.pixels();
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
    return canvas.convertToBlob();
  }

  #compare(frame) {
    const {truth, compare} = this;
    truth.hidden = compare === 'off' || (compare === 'blend' && !this.recorded);
    if (truth.hidden) return;
    const beside = compare === 'beside';
    const px = (value) => `${value}px`;
    Object.assign(truth.style, beside
      ? {
        position: 'static', flex: '1 1 0', minWidth: 0, width: 'auto', height: '100%', objectFit: 'contain', opacity: 1,
      }
      : {
        position: 'absolute', left: px(this.box.left), top: px(this.box.top), width: px(this.box.width),
        height: px(this.box.height), objectFit: 'fill', opacity: this.blend,
      });
    if (frame === this.pictured || (this.pictured !== undefined && !truth.complete)) return;
    this.pictured = frame;
    truth.src = address(`/avatars/${this.performers[0].number}/frames/${frame}.jpg`);
    truth.alt = `Recorded frame ${frame}`;
  }
}
