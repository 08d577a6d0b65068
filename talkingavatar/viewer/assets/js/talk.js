/** The part of the panel that talks: microphone or sound file to the live avatar. */

import {byId, teller} from './controls.js';
import {RATE} from './resample.js';
import {microphone} from './sound.js';

const SECURE = 'A microphone is given to https and localhost only: use the ssh line that `view` has printed.';

export class Talk {
  /**
   * @param {import('./live.js').Live} live
   * @param {import('./sound.js').Sound} sound
   * @param {() => void} begun
   */
  constructor(live, sound, begun) {
    this.live = live;
    this.sound = sound;
    this.begun = begun;
    this.tell = teller('heard');
    live.failed = (text) => {
      this.stop();
      this.tell(text, true);
    };
    byId('microphone').onclick = () => (this.heard ? this.stop() : this.#try(() => this.#microphone()));
    byId('say').onclick = () => byId('soundFile').click();
    byId('soundFile').onchange = ({target}) => {
      const [file] = target.files;
      target.value = '';
      if (file) this.#try(() => this.#say(file));
    };
    byId('quiet').onclick = () => this.stop();
  }

  /** Whether what is heard comes from a loudspeaker, and the mouth must keep its time. */
  get monitored() {
    return this.played || byId('monitor').checked;
  }

  stop() {
    this.heard?.stop();
    this.heard?.source.close?.();
    this.heard = null;
    this.live.stop();
    this.#show(false);
    this.tell('');
  }

  /** Each frame of the screen. */
  update() {
    if (!this.heard) return;
    const {delay, counts, underruns, lost} = this.live;
    this.heard.wait(delay);
    const unheard = Math.round((counts.unheard ?? 0) / RATE);
    const missed = [[underruns, 'too late'], [counts.late, 'left out'], [lost, 'not sent'], [unheard, 's not heard']]
      .filter(([count]) => count);
    const told = missed.map(([count, what]) => `${count} ${what}`).join(', ');
    this.tell(`${Math.round(1000 * delay)} ms from sound to mouth${told && `; ${told}`}`);
  }

  async #try(work) {
    this.stop();
    try {
      await this.live.open();
      await work();
      this.begun();
    } catch (error) {
      this.stop();
      this.tell(error.message, true);
    }
  }

  async #microphone() {
    if (!navigator.mediaDevices) throw new Error(SECURE);
    this.played = false;
    await this.#listen((context) => microphone(context, byId('cleaned').checked), byId('monitor').checked);
    this.#show(true, byId('microphone'));
  }

  async #say(file) {
    this.played = true;
    const buffer = await this.sound.decoded(await file.arrayBuffer()).catch(() => {
      throw new Error(`${file.name}: no sound that this browser reads`);
    });
    await this.#listen(async (context) => new AudioBufferSourceNode(context, {buffer}), true);
    this.heard.source.onended = () => setTimeout(() => this.stop(), 1000 * (this.live.delay + 0.3));
    this.heard.source.start();
    this.#show(true);
  }

  async #listen(open, monitored) {
    this.heard = await this.sound.listen(open, (block, context) => this.live.send(block, context), monitored);
    this.heard.wait(this.live.delay);
  }

  #show(talking, button = null) {
    byId('quiet').disabled = !talking;
    byId('microphone').setAttribute('aria-pressed', String(button !== null));
  }
}
