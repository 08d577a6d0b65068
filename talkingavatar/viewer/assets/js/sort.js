/** The order in which Gaussians are drawn: the farthest first. */

/**
 * Counting sort by depth. It uses nothing from outside, so that its text is a worker's too.
 * @param {Float32Array} depths 0 of what is not seen
 * @returns {Uint32Array} numbers of what is seen, the farthest first; of equal depth, the later first
 */
export function farthestFirst(depths) {
  const bins = 65536;
  let low = Infinity;
  let high = 0;
  let seen = 0;
  for (const depth of depths) {
    if (!(depth > 0)) continue;
    seen++;
    if (depth < low) low = depth;
    if (depth > high) high = depth;
  }
  const scale = high > low ? (bins - 1) / (high - low) : 0;
  const ends = new Uint32Array(bins + 1);
  for (const depth of depths) if (depth > 0) ends[bins - 1 - Math.floor((depth - low) * scale)]++;
  for (let bin = 1; bin <= bins; bin++) ends[bin] += ends[bin - 1];
  const order = new Uint32Array(seen);
  for (let i = 0; i < depths.length; i++) {
    if (depths[i] > 0) order[--ends[bins - 1 - Math.floor((depths[i] - low) * scale)]] = i;
  }
  return order;
}

/** Sorts beside the page's own work; one request at a time. */
export class Sorter {
  constructor() {
    const text = `${farthestFirst}
      onmessage = ({data}) => {
        const start = performance.now();
        const order = farthestFirst(data.depths);
        postMessage({order, number: data.number, ms: performance.now() - start}, [order.buffer]);
      };`;
    this.address = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
    this.worker = new Worker(this.address);
    this.busy = false;
  }

  /**
   * @param {Float32Array} depths given away
   * @param {number} number of the projection they are of
   * @param {(sorted: {order: Uint32Array, number: number, ms: number}) => void} done
   */
  sort(depths, number, done) {
    this.busy = true;
    this.worker.onmessage = ({data}) => {
      this.busy = false;
      done(data);
    };
    this.worker.postMessage({depths, number}, [depths.buffer]);
  }

  stop() {
    this.worker.terminate();
    URL.revokeObjectURL(this.address);
  }
}
