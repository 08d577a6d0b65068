/** The one sound of the page: what is played, what is heard by the microphone, and what a clip records. */

const LONGEST = 10; // seconds that the sound may wait for the mouth

export class Sound {
  /** @returns {AudioContext} made when it is first needed: browsers want a hand's touch before */
  get context() {
    if (!this.made) {
      this.made = new AudioContext();
      this.out = new GainNode(this.made);
      this.out.connect(this.made.destination);
    }
    return this.made;
  }

  /** @returns {MediaStream|null} of all that is heard; null where nothing was yet */
  stream() {
    if (!this.made) return null;
    this.tap ??= new MediaStreamAudioDestinationNode(this.made);
    this.out.connect(this.tap);
    return this.tap.stream;
  }

  /** @param {ArrayBuffer} content of a sound file @returns {Promise<AudioBuffer>} */
  decoded(content) {
    return this.context.decodeAudioData(content);
  }

  /**
   * Listen to a source, block by block.
   * @param {(context: AudioContext) => Promise<AudioNode>} open
   * @param {(heard: {block: Int16Array, at: number}, context: AudioContext) => void} heard
   * @param {boolean} monitored whether it is played, too
   * @returns {Promise<{source: AudioNode, wait: (seconds: number) => void, stop: () => void}>}
   */
  async listen(open, heard, monitored) {
    const {context} = this;
    await context.resume();
    this.module ??= context.audioWorklet.addModule(new URL('microphone.js', import.meta.url));
    await this.module;
    const source = await open(context);
    const worklet = new AudioWorkletNode(context, 'microphone', {numberOfOutputs: 0});
    worklet.port.onmessage = ({data}) => heard(data, context);
    const delay = new DelayNode(context, {maxDelayTime: LONGEST});
    source.connect(worklet);
    if (monitored) source.connect(delay).connect(this.out);
    return {
      source,
      wait: (seconds) => delay.delayTime.setTargetAtTime(seconds, context.currentTime, 0.05),
      stop: () => {
        worklet.port.onmessage = null;
        source.disconnect();
        delay.disconnect();
      },
    };
  }
}

/** @param {boolean} cleaned against echo; what that changes of the sound changes what is heard of speech, too */
export async function microphone(context, cleaned) {
  const wanted = {echoCancellation: cleaned, noiseSuppression: cleaned, autoGainControl: cleaned};
  const stream = await navigator.mediaDevices.getUserMedia({audio: wanted});
  const source = new MediaStreamAudioSourceNode(context, {mediaStream: stream});
  source.close = () => stream.getTracks().forEach((track) => track.stop());
  return source;
}
