/** How long the GPU works on a frame, where the browser tells. */

const NANOSECONDS = 1e6; // a millisecond

export class Timer {
  #waiting = [];

  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.extension = gl.getExtension('EXT_disjoint_timer_query_webgl2');
    /** Of the last frame that is known, null where none is. @type {number|null} */
    this.ms = null;
    /** Called with each. @type {((ms: number) => void)|null} */
    this.told = null;
  }

  /** @returns {boolean} the GPU has not told of all frames yet */
  get waits() {
    return this.#waiting.length > 0;
  }

  /**
   * @param {() => boolean} work tells whether it was a frame's
   * @returns {boolean} what it told
   */
  measure(work) {
    if (!this.extension) return work();
    const {gl} = this;
    const query = gl.createQuery();
    gl.beginQuery(this.extension.TIME_ELAPSED_EXT, query);
    const drawn = work();
    gl.endQuery(this.extension.TIME_ELAPSED_EXT);
    if (drawn) this.#waiting.push(query);
    else gl.deleteQuery(query);
    this.collect();
    return drawn;
  }

  /** Take what the GPU has answered. */
  collect() {
    const {gl} = this;
    while (this.waits && gl.getQueryParameter(this.#waiting[0], gl.QUERY_RESULT_AVAILABLE)) {
      const query = this.#waiting.shift();
      const disturbed = gl.getParameter(this.extension.GPU_DISJOINT_EXT);
      if (!disturbed) {
        this.ms = gl.getQueryParameter(query, gl.QUERY_RESULT) / NANOSECONDS;
        this.told?.(this.ms);
      }
      gl.deleteQuery(query);
    }
  }
}
