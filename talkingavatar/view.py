"""Look at a fitted avatar in a browser, and talk to it: python -m talkingavatar.view run=runs/..."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from talkingavatar.paths import user_path, user_paths

if TYPE_CHECKING:
    from talkingavatar.engine.performing.performance import Request

HELP = """Show fitted avatars in a browser: turn them, move faces by hand, play the capture or new speech, talk live.

  python -m talkingavatar.view run=runs/thgs_full-quick-s0-...
  python -m talkingavatar.view run=runs/full,runs/wo_saam           side by side, on one clock
  python -m talkingavatar.view run=shared/avatar.glb                a baked file, without its run
  python -m talkingavatar.view run=... audio=speech.wav emotion="slightly sad, then furious from 3.5s"
  python -m talkingavatar.view sweep=runs                           choose among many; each opens when it is chosen

  run      run directories of fit, or baked avatars (.glb), with commas between
  sweep    a folder of run directories
  audio    any sound, or a video with sound, performed instead of the run's own capture
  emotion  in words, what the face does besides (`drive --help`)
  au       the same in action units: "AU12=2.5 at 6s"
  host     whose requests are answered: this machine's alone (127.0.0.1). 0.0.0.0 lets others in who know the address
           that is printed, which holds a random token
  port     (8765)

With ?bench=1 behind the page's address it tells how fast that browser draws, on which GPU.
A browser with WebGL2 evaluates and draws the avatar; this process only sends it parameters. From another machine, use
the ssh line that is printed: browsers give a microphone to localhost alone. Exit codes: 0 stopped, 2 a mistake in
what was given."""

KEYS = ("run", "sweep", "audio", "emotion", "au", "host", "port")
PORT = 8765


@dataclass(frozen=True)
class ViewConfig:
    """What `view` is given."""

    places: tuple[Path, ...]  # runs and baked files
    ahead: bool  # whether all are opened before the page is: a mistake shows at once
    request: "Request | None"
    host: str
    port: int


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments:
        return ended(lambda: tell(HELP))
    return ended(lambda: _view(parse(arguments)))


def _view(config: ViewConfig) -> int:
    import asyncio
    from contextlib import suppress

    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(config))
    return 0


async def _serve(config: ViewConfig) -> None:
    """Until it is stopped.

    Raises:
        UserError: the port is in use, or what is to be shown cannot be.
    """
    import secrets

    from talkingavatar.exporters.bake import bake
    from talkingavatar.viewer.opened import Opener
    from talkingavatar.viewer.server import LOOPBACK, Viewer
    from talkingavatar.viewer.shelf import Shelf

    token = None if config.host in LOOPBACK else secrets.token_urlsafe(16)
    shelf = Shelf(config.places, Opener(bake, config.request))
    async with await Viewer(shelf, token).serve(config.host, config.port) as server:  # a port in use shows first
        for number in range(len(shelf) if config.ahead else 0):
            print(f"opening {config.places[number]}", flush=True)
            await shelf.open(number)
        _tell(config.host, server.sockets[0].getsockname()[1], token)
        await server.serve_forever()


def _tell(host: str, port: int, token: str | None) -> None:
    """Where the page is, and how to see it from elsewhere."""
    import getpass
    import socket

    name = socket.gethostname()
    ask = "" if token is None else f"/?token={token}"
    if token is None:
        print(f"from another machine: ssh -L {port}:localhost:{port} {getpass.getuser()}@{name}")
    else:
        print(f"anyone with this address can look: http://{name if host in ('0.0.0.0', '::') else host}:{port}{ask}")
    print(f"view: http://localhost:{port}{ask}", flush=True)


def parse(arguments: list[str]) -> ViewConfig:
    """`key=value` arguments.

    Raises:
        UserError: an unknown key, a number that is none, or nothing to show.
    """
    from talkingavatar.config.arguments import key_values, whole_number
    from talkingavatar.errors import UserError

    given = key_values(arguments, KEYS)
    if ("run" in given) == ("sweep" in given):
        count = "both" if "run" in given else "nothing"
        raise UserError("run, sweep", count, "one of the two", "give run=<dir>[,<dir>...] or sweep=<folder>")
    places = _of_sweep(user_path(given["sweep"])) if "sweep" in given else tuple(user_paths(given["run"]))
    if not places:
        raise UserError("run", repr(given["run"]), "run directories or baked avatars", "give run=<dir>[,<dir>...]")
    port = whole_number("port", given.get("port", str(PORT)), 0, 65535)
    return ViewConfig(places, "run" in given, _request(given), given.get("host", "127.0.0.1"), port)


def _of_sweep(folder: Path) -> tuple[Path, ...]:
    """
    Raises:
        UserError: it holds no run.
    """
    from talkingavatar.errors import UserError
    from talkingavatar.tables.runs import find_runs

    if not (runs := tuple(find_runs(folder))):
        raise UserError("sweep", f"{folder}: no run in it", "a folder of run directories", "fit something")
    return runs


def _request(given: dict[str, str]) -> "Request | None":
    """
    Raises:
        UserError: a face is to do something, but nothing is spoken.
    """
    from talkingavatar.errors import UserError

    if "audio" not in given:
        if asked := [key for key in ("emotion", "au") if key in given]:
            action = "give audio=...; over the capture, write the prompt on the page"
            raise UserError(", ".join(asked), "no sound", "a sound that is performed", action)
        return None
    from talkingavatar.engine.performing.editing import Edit
    from talkingavatar.engine.performing.performance import Request

    return Request(audio=user_path(given["audio"]), edit=Edit(given.get("emotion"), given.get("au")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
