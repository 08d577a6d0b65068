"""The renderer in a page of a real browser, and what it hands back."""

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import talkingavatar
from talkingavatar.types import Cameras
from tests.browser import Browser, executable

ASSETS = Path(talkingavatar.__file__).parent / "viewer" / "assets"
PAGE = """<!doctype html><link rel="icon" href="data:,"><canvas id="canvas"></canvas><script type="module">
import * as all from './js/renderer.js';
Object.assign(window, all, {
  bits: (numbers) => {
    const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    let text = '';
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  },
  canvas: document.querySelector('canvas'),
  ready: true,
});
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


@contextmanager
def serving(folder: Path):
    """The address of a folder with the page's modules and `PAGE` in it."""
    (folder / "js").symlink_to(ASSETS / "js")
    (folder / "page.html").write_text(PAGE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def renderer_page(folder: Path) -> Iterator[Browser]:
    """A page with a renderer that sorts in step; skips where there is no browser, fails where the page complained."""
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    with serving(folder) as address, Browser(folder / "profile", webgl=True) as browser:
        browser.open(f"{address}/page.html")
        browser.run("window.renderer = new Renderer(canvas, {sync: true}); 1")
        yield browser
        assert browser.errors == []


def floats(browser: Browser, expression: str) -> np.ndarray:
    """The Float32Array that an expression, awaited, is."""
    text = browser.run(f"(async () => bits(await ({expression})))()")
    return np.frombuffer(base64.b64decode(str(text)), np.float32)


def camera_text(cameras: Cameras) -> str:
    """The first of some cameras, as the page has it."""
    K = cameras.Ks[0].tolist()
    numbers = {"fx": K[0][0], "fy": K[1][1], "cx": K[0][2], "cy": K[1][2]}
    numbers |= {"width": cameras.width, "height": cameras.height}
    view = cameras.viewmats[0].flatten().tolist()
    return f"{{...{json.dumps(numbers)}, viewmat: new Float32Array({json.dumps(view)})}}"


def said(browser: Browser, expression: str) -> str:
    """What an expression, awaited, complains of."""
    return str(browser.run(f"(async () => {{ try {{ await ({expression}); }} catch (e) {{ return e.message; }} }})()"))
