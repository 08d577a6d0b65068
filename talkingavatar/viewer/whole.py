"""A page that needs no server: the viewer's modules, an avatar, its motion and its sound in one file."""

from __future__ import annotations

import base64
import gzip
import json
import re
from functools import partial
from pathlib import Path
from posixpath import dirname, join, normpath

from talkingavatar.viewer.face import table
from talkingavatar.viewer.shown import Shown

ASSETS = Path(__file__).parent / "assets"
ENTRY, UNPACKING = "app.js", "held.js"
IMPORTED = re.compile(r"""(?<=from )'(\.{1,2}/[\w./-]+)'""")
STYLE = '<link rel="stylesheet" href="assets/style.css">'
SCRIPT = '<script type="module" src="assets/js/app.js"></script>'
START = """<script type="module">
import {unpack} from 'viewer/held.js';
await unpack();
await import('viewer/app.js');
</script>"""


def whole_page(shown: Shown) -> str:
    """HTML that any current browser opens from a folder: it plays, turns and has the face's sliders."""
    page = (ASSETS / "index.html").read_text()
    page = _put(page, STYLE, f"<style>\n{(ASSETS / 'style.css').read_text()}</style>")
    page = _put(page, SCRIPT, _modules())
    parts = "\n".join(_part(path, content) for path, content in _files(shown).items())
    return _put(page, "</body>", f"{parts}\n{START}\n</body>")


def _put(page: str, place: str, content: str) -> str:
    before, found, after = page.partition(place)
    assert found, f"index.html without {place}"
    return before + content + after


def _files(shown: Shown) -> dict[str, bytes]:
    """What the page asks its server for, of one avatar."""
    told = shown.told() | {"live": None, "pictures": False}
    files = {
        "/avatars.json": json.dumps({"avatars": [{"name": shown.name, "open": True}], "face": table()}).encode(),
        "/avatars/0.json": json.dumps(told).encode(),
        "/avatars/0.glb": shown.glb,
    }
    if shown.motion is not None:
        files["/avatars/0/motion"] = shown.motion.astype("<f4").tobytes()
    if shown.sound is not None:
        files["/avatars/0/sound.wav"] = shown.sound
    return files


def _part(path: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f'<script type="text/plain" data-path="{path}">{packed}</script>'


def _modules() -> str:
    """An import map of what the page needs: modules of a file have no addresses by which they could find each other."""
    sources: dict[str, str] = {}
    waiting = [ENTRY, UNPACKING]
    while waiting:
        name = waiting.pop()
        if name not in sources:
            source = (ASSETS / "js" / name).read_text()
            waiting += [_beside(name, target) for target in IMPORTED.findall(source)]
            sources[name] = IMPORTED.sub(partial(_by_name, name), source)
    addresses = {f"viewer/{name}": _data(source) for name, source in sorted(sources.items())}
    return f'<script type="importmap">{json.dumps({"imports": addresses})}</script>'


def _by_name(importer: str, match: re.Match[str]) -> str:
    return f"'viewer/{_beside(importer, match[1])}'"


def _beside(importer: str, target: str) -> str:
    return normpath(join(dirname(importer), target))


def _data(source: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode()}"
