/** The camera: round a point by hand, or as the capture's stood. World: y up, metres; cameras as OpenCV's. */

const LEAST = 0.05; // metres from the point that is turned round
const MOST = 50;
const STEEP = 1.5; // radians up or down
const TURN = 0.006; // radians a pixel
const KEY = 0.12; // radians, or share of the distance, a press

const sub = (a, b) => a.map((v, i) => v - b[i]);
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((v) => v / Math.hypot(...a));

export class Orbit {
  /**
   * @param {HTMLCanvasElement} canvas turned by mouse, touch and keys
   * @param {() => void} moved called when a hand has moved it
   */
  constructor(canvas, moved) {
    this.canvas = canvas;
    this.moved = moved;
    this.fov = 25; // degrees, of the height
    this.look({target: [0, 0, 0], eye: [0, 0, 2]});
    this.pointers = new Map();
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel']) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener('wheel', (event) => this.#wheel(event), {passive: false});
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('dblclick', () => this.#changed(() => this.home()));
  }

  /** Stand somewhere; `home` comes back to it. */
  look({target, eye}) {
    this.start = {target, eye};
    this.home();
  }

  home() {
    const {target, eye} = this.start;
    const away = sub(eye, target);
    this.target = [...target];
    this.distance = Math.max(Math.hypot(...away), LEAST);
    this.yaw = Math.atan2(away[0], away[2]);
    this.pitch = Math.asin(away[1] / this.distance);
  }

  /** As a capture's camera stands, to be turned round what it sees. */
  follow(viewmat, K, height, centre) {
    const forward = [viewmat[8], viewmat[9], viewmat[10]];
    const away = [viewmat[3], viewmat[7], viewmat[11]];
    const eye = [0, 1, 2].map((i) => -dot([viewmat[i], viewmat[4 + i], viewmat[8 + i]], away));
    const depth = Math.max(dot(sub(centre, eye), forward), LEAST);
    this.fov = (2 * Math.atan(height / 2 / K[4]) * 180) / Math.PI;
    this.look({target: eye.map((v, i) => v + depth * forward[i]), eye});
  }

  /** Go so far away that this many metres are seen across. @param {number} shape width by height of the picture */
  widen(metres, shape) {
    const {target, eye} = this.start;
    const distance = metres / 2 / shape / Math.tan((this.fov * Math.PI) / 360);
    const share = Math.max(1, distance / this.distance);
    this.look({target, eye: eye.map((v, i) => target[i] + share * (v - target[i]))});
  }

  /** @returns {Object} the renderer's camera for a picture of this size */
  camera(width, height) {
    const flat = Math.cos(this.pitch);
    const away = [flat * Math.sin(this.yaw), Math.sin(this.pitch), flat * Math.cos(this.yaw)];
    const eye = this.target.map((v, i) => v + this.distance * away[i]);
    const forward = away.map((v) => -v);
    const right = unit(cross(forward, [0, 1, 0]));
    const down = cross(forward, right);
    const viewmat = new Float32Array(16);
    [right, down, forward].forEach((axis, row) => viewmat.set([...axis, -dot(axis, eye)], 4 * row));
    viewmat[15] = 1;
    const focal = height / 2 / Math.tan((this.fov * Math.PI) / 360);
    return {viewmat, fx: focal, fy: focal, cx: width / 2, cy: height / 2, width, height};
  }

  #changed(change) {
    change();
    this.pitch = Math.min(Math.max(this.pitch, -STEEP), STEEP);
    this.distance = Math.min(Math.max(this.distance, LEAST), MOST);
    this.moved();
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.#changed(() => {
      if (others.length) {
        const apart = (place) => Math.hypot(place[0] - others[0][0], place[1] - others[0][1]) || 1;
        this.distance *= apart(before) / apart([event.clientX, event.clientY]);
        this.#slide(dx / 2, dy / 2);
      } else if (event.buttons & 2 || event.shiftKey) this.#slide(dx, dy);
      else this.#turn(dx, dy);
    });
  }

  #turn(dx, dy) {
    this.yaw -= dx * TURN;
    this.pitch += dy * TURN;
  }

  /** Pixels across the picture, at the point's depth. */
  #slide(dx, dy) {
    const {viewmat, fx} = this.camera(this.canvas.clientWidth, this.canvas.clientHeight);
    const metres = this.distance / fx;
    this.target = this.target.map((v, i) => v - metres * (dx * viewmat[i] + dy * viewmat[4 + i]));
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    this.#changed(() => (this.distance *= Math.exp(pixels * 0.0012)));
  }

  #key(event) {
    const across = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    const nearer = {'+': -1, '=': -1, '-': 1}[event.key];
    if (!across && !nearer && event.key !== '0') return;
    event.preventDefault();
    this.#changed(() => {
      if (event.key === '0') this.home();
      else if (nearer) this.distance *= Math.exp(nearer * KEY);
      else if (event.shiftKey) this.#slide(...across.map((v) => -20 * v));
      else this.#turn(...across.map((v) => (-v * KEY) / TURN));
    });
  }
}

/**
 * A capture's camera in a picture of another size, as large as fits whole.
 * @param {{viewmats: number[][], Ks: number[][], width: number, height: number}} recorded
 * @param {number} frame
 * @returns {{camera: Object, box: {left: number, top: number, width: number, height: number}}} box: where its picture
 *   lies
 */
export function fitted(recorded, frame, width, height) {
  const of = (rows) => rows[Math.min(frame, rows.length - 1)];
  const K = of(recorded.Ks);
  const scale = Math.min(width / recorded.width, height / recorded.height);
  const box = {width: scale * recorded.width, height: scale * recorded.height};
  box.left = (width - box.width) / 2;
  box.top = (height - box.height) / 2;
  const camera = {
    viewmat: Float32Array.from(of(recorded.viewmats)),
    fx: scale * K[0], fy: scale * K[4], cx: scale * K[2] + box.left, cy: scale * K[5] + box.top, width, height,
  };
  return {camera, box};
}
