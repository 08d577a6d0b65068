/** How fast this browser draws: frame after frame, none waits for the screen. */

/** @typedef {import('./renderer.js').Renderer} Renderer */

const FRAMES = 500;
const WARM = 20; // frames before those that count

/**
 * @typedef {{frames: number, fps: number, cpuMs: number, gpuMs: number|null, sortMs: number, gaussians: number,
 *   size: string, renderer: string, browser: string}} Report times a frame, milliseconds; medians but for `fps`
 */

/**
 * Draw many frames, each of another moment.
 * @param {Renderer} renderer with its avatars and camera
 * @param {(number: number) => void} move sets the parameters of a frame
 * @param {number} frames that count
 * @returns {Promise<Report>}
 */
export async function bench(renderer, move, frames = FRAMES) {
  const cpu = [];
  const sorts = [];
  const gpu = [];
  renderer.timer.told = (ms) => gpu.push(ms);
  let start = 0;
  for (let number = -WARM; number < frames; number++) {
    if (number === 0) {
      await renderer.finish();
      cpu.length = gpu.length = sorts.length = 0;
      start = performance.now();
    }
    const begun = performance.now();
    move(number + WARM);
    renderer.draw();
    cpu.push(performance.now() - begun);
    sorts.push(renderer.stats.sortMs);
    await turn(); // of the sort's answers
  }
  await renderer.finish();
  const seconds = (performance.now() - start) / 1000;
  for (let tries = 0; tries < frames && gpu.length < frames && renderer.timer.waits; tries++) {
    await turn();
    renderer.timer.collect();
  }
  renderer.timer.told = null;
  const {gaussians, renderer: name} = renderer.stats;
  const {width, height} = renderer.camera;
  return {
    frames, fps: frames / seconds, cpuMs: median(cpu), gpuMs: gpu.length ? median(gpu) : null, sortMs: median(sorts),
    gaussians, size: `${width}x${height}`, renderer: name, browser: navigator.userAgent,
  };
}

/**
 * One line to send to others.
 * @param {Report} report
 */
export function sentence({frames, fps, cpuMs, gpuMs, sortMs, gaussians, size, renderer}) {
  const gpu = gpuMs === null ? 'GPU not told' : `GPU ${gpuMs.toFixed(2)} ms`;
  return `${fps.toFixed(1)} frames/s (${gpu}, CPU ${cpuMs.toFixed(2)} ms, sort ${sortMs.toFixed(2)} ms beside it): `
    + `${frames} frames of ${size}, ${gaussians} Gaussians, ${renderer}`;
}

/** Other work of the page goes on. */
function turn() {
  return new Promise((done) => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(null);
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
