"""Planted clicks: a picture of the mouth at a click is drawn when the click is heard.

What is heard is tapped where it leaves the page's sound, and its moment is the browser's own: how late its loudspeaker
is, only a microphone before it could tell.
"""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.static import settled
from talkingavatar.viewer.shown import Live, Shown
from tests.browser import Browser, executable
from tests.splatting.scenes import cloud
from tests.viewer.serving import HOP, serving

FPS, RATE = 25.0, 44_100
CLICKS = [0.4, 0.92, 1.2, 1.68, 2.0]  # seconds, each at a frame
# Sound before its picture is noticed from 45 ms on, after it from 125 on (ITU-R BT.1359).
NOTICED = 45.0
AROUND = 60.0, 250.0  # milliseconds after a click whose pictures tell
TAP = """
class Tap extends AudioWorkletProcessor {
  process([[samples = []]]) {
    samples.forEach((value, i) => {
      const at = (currentFrame + i) / sampleRate;
      if (Math.abs(value) > 0.3 && !(at < this.last + 0.1)) this.port.postMessage(this.last = at);
    });
    return true;
  }
}
registerProcessor('tap', Tap);"""
LISTEN = """(async () => {
  const {sound, stage, performers: [{instance}]} = app;
  const {context} = sound;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], {type: 'text/javascript'})));
  const tap = new AudioWorkletNode(context, 'tap', {numberOfOutputs: 0});
  Object.assign(window, {heard: [], drawn: []});
  tap.port.onmessage = ({data}) => {
    const {contextTime, performanceTime} = context.getOutputTimestamp();
    heard.push(performanceTime + 1000 * (data - contextTime));
  };
  sound.out.connect(tap);
  let shown = [0, 0];
  const {setFrame} = instance;
  instance.setFrame = (frame) => {
    shown = [frame.transl[0], performance.now()];
    setFrame.call(instance, frame);
  };
  const {draw} = stage;
  stage.draw = (frame) => {
    draw.call(stage, frame);
    stage.renderer.finish();
    drawn.push([...shown, performance.now()]);
  };
})()"""


def wav() -> bytes:
    """A burst at each of the clicks, and silence after."""
    samples, file = np.zeros(round(2.4 * RATE)), io.BytesIO()
    for click in CLICKS:
        samples[round(click * RATE) :][:200] = 0.9
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


class Since:
    """A voice whose avatar stands as far aside as the last loud frame is ago, metres for seconds."""

    def __init__(self, first: int) -> None:
        self.waiting, self.since = np.zeros(0, np.float32), 9.0

    def push(self, samples):
        self.waiting, places = np.concatenate([self.waiting, samples]), []
        while len(self.waiting) >= HOP:
            block, self.waiting = self.waiting[:HOP], self.waiting[HOP:]
            self.since = 0.0 if np.abs(block).max() > 0.3 else self.since + 1 / FPS
            places.append([self.since, 0.0, 0.0])
        return np.array(places, np.float32).reshape(-1, 3)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """An avatar whose place is the time of its motion; live, the time since the last click."""
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    motion = np.zeros((60, 3), np.float32)
    motion[:, 0] = np.arange(60) / FPS
    shown = Shown("one", glb(settled(cloud(40)), {}), FPS, motion, sound=wav(), live=Live(FPS, 0.04, Since))
    folder = tmp_path_factory.mktemp("sync")
    with serving([Path("one")], lambda place: shown) as port, Browser(folder, 320, 240, webgl=True) as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.run("until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 20)); }; 1")
        browser.run("until(() => globalThis.app?.performers?.length)")
        browser.run(f"window.TAP = {TAP!r}; {LISTEN}")
        yield browser
        assert browser.errors == []


def apart(page, since) -> np.ndarray:
    """Milliseconds from each click to the mouth of its moment.

    Between two pictures the mouth goes on as the motion does: how often this machine draws, and how long it takes to,
    are no fault of the clock, and are said beside.

    Args:
        since: seconds from a click to the moment of a picture, of its place and the click.
    """
    page.run(f"until(() => heard.length >= {len(CLICKS)}).then(() => new Promise((done) => setTimeout(done, 400)))")
    heard, (places, begun, done) = page.run("heard"), np.array(page.run("drawn")).T
    assert len(heard) == len(CLICKS)
    found = []
    for sound, click in zip(heard, CLICKS, strict=True):
        after = (begun > sound + AROUND[0]) & (begun < sound + AROUND[1])
        found.append(np.median(begun[after] - 1e3 * since(places[after], click)) - sound)
    steps = np.median(np.diff(begun)), np.median(done - begun)
    print(f"mouth after sound {np.round(found, 1)} ms; a picture each {steps[0]:.0f} ms, drawn in {steps[1]:.0f} ms")
    return np.array(found)


def test_played_speech_is_seen_when_it_is_heard(page):
    page.run("heard.length = drawn.length = 0; app.clock.play().then(() => 1)")
    found = apart(page, lambda places, click: places - click)
    page.run("app.clock.pause(); 1")
    assert np.abs(found).max() < NOTICED


def test_speech_that_is_heard_live_is_seen_when_it_is_played(page):
    """The sound waits for the mouth; while that wait still grows, a click may be apart for a moment."""
    page.run("heard.length = drawn.length = 0; app.clock.time = 0; 1")
    content = base64.b64encode(wav()).decode()
    page.run(f"""fetch('data:audio/wav;base64,{content}').then((answer) => answer.blob()).then((blob) => {{
      const files = new DataTransfer();
      files.items.add(new File([blob], 'clicks.wav'));
      const input = document.getElementById('soundFile');
      input.files = files.files;
      input.dispatchEvent(new Event('change'));
    }})""")

    assert np.median(np.abs(apart(page, lambda places, click: places))) < NOTICED
