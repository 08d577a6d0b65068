"use strict";
// Several videos on one clock.

const APART = 0.05;  // seconds a video may be off the first before it is set right
const FRAME = 1 / 25;

class Wall {
  constructor(bar) {
    this.videos = [];
    this.playing = false;
    this.play = element("button", {type: "button", "aria-label": "play or pause"}, "Play");
    this.back = element("button", {type: "button", "aria-label": "one frame back"}, "‹");
    this.forth = element("button", {type: "button", "aria-label": "one frame on"}, "›");
    this.seek = element("input", {type: "range", min: 0, max: 1, step: 0.001, value: 0, "aria-label": "time"});
    this.time = element("output", {}, "0.00 s");
    this.speed = element("select", {"aria-label": "speed"});
    for (const rate of [0.25, 0.5, 1, 2]) this.speed.append(element("option", {value: rate}, `${rate} ×`));
    this.speed.value = 1;
    this.sound = element("select", {"aria-label": "sound from"});
    this.play.onclick = () => this.playing ? this.pause() : this.start();
    this.back.onclick = () => this.step(-1);
    this.forth.onclick = () => this.step(1);
    this.seek.oninput = () => this.goto(+this.seek.value * this.length());
    this.speed.onchange = () => this.videos.forEach(video => { video.playbackRate = +this.speed.value; });
    this.sound.onchange = () => this.listen();
    bar.append(this.play, this.back, this.seek, this.forth, this.time, "speed", this.speed, "sound from", this.sound);
  }

  show(videos, names) {
    this.pause();
    const at = this.now();
    this.videos = videos;
    this.sound.replaceChildren(element("option", {value: -1}, "none"),
      ...names.map((name, i) => element("option", {value: i}, name)));
    this.sound.value = names.length ? 0 : -1;
    this.listen();
    for (const video of videos) {
      video.playbackRate = +this.speed.value;
      video.onloadedmetadata = () => this.goto(Math.min(at, this.length()));
    }
  }

  listen() { this.videos.forEach((video, i) => { video.muted = i !== +this.sound.value; }); }
  length() { return Math.max(0, ...this.videos.map(video => video.duration || 0)); }
  // The longest is the clock; a shorter one waits at its end.
  clock() { return this.videos.find(video => video.duration === this.length()) || this.videos[0]; }
  now() { const clock = this.clock(); return clock ? clock.currentTime : 0; }

  goto(time) {
    for (const video of this.videos)
      if (video.duration) video.currentTime = Math.max(0, Math.min(time, video.duration - 0.001));
    this.tell(time);
  }

  tell(time) {
    const length = this.length();
    this.seek.value = length ? time / length : 0;
    this.time.textContent = `${time.toFixed(2)} of ${length.toFixed(2)} s`;
  }

  step(frames) { this.pause(); this.goto(Math.max(0, this.now() + frames * FRAME)); }

  start() {
    if (!this.videos.length) return;
    if (this.now() > this.length() - 0.02) this.goto(0);
    this.playing = true;
    this.play.textContent = "Pause";
    this.videos.forEach(video => video.play().catch(() => {}));
    requestAnimationFrame(() => this.tick());
  }

  tick() {
    if (!this.playing) return;
    const clock = this.clock(), time = clock.currentTime;
    for (const video of this.videos)
      if (video !== clock && time < video.duration && Math.abs(video.currentTime - time) > APART) video.currentTime = time;
    this.tell(time);
    if (clock.ended) return this.pause();
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    this.playing = false;
    this.play.textContent = "Play";
    this.videos.forEach(video => video.pause());
    if (this.videos.length) this.goto(this.now());
  }
}
