/** What is seen and heard, as files. */

import {element} from './controls.js';

const KINDS = ['video/mp4;codecs=avc1.42E01E,mp4a.40.2', 'video/webm;codecs=vp9,opus', 'video/webm'];

/** @param {Blob} content @param {string} name */
export function download(content, name) {
  const link = element('a', {href: URL.createObjectURL(content), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** @param {HTMLCanvasElement} canvas just drawn @returns {Promise<Blob>} */
export const picture = (canvas) => new Promise((done) => canvas.toBlob(done, 'image/png'));

export class Recorder {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {MediaStream|null} sound
   */
  constructor(canvas, sound) {
    const stream = canvas.captureStream();
    sound?.getAudioTracks().forEach((track) => stream.addTrack(track));
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    this.parts = [];
    this.recorder = new MediaRecorder(stream, {mimeType, videoBitsPerSecond: 12e6});
    this.recorder.ondataavailable = ({data}) => this.parts.push(data);
    this.recorder.start(1000);
  }

  /** @returns {Promise<{content: Blob, ending: string}>} */
  async stop() {
    await new Promise((done) => {
      this.recorder.onstop = done;
      this.recorder.stop();
    });
    const {mimeType} = this.recorder;
    return {content: new Blob(this.parts, {type: mimeType}), ending: mimeType.includes('mp4') ? 'mp4' : 'webm'};
  }
}
