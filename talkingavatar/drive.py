"""Drive a fitted avatar: python -m talkingavatar.drive run=runs/... audio=speech.wav"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Two thread pools (torch's, numba's) share the cores: who waits must sleep, not spin. Read before either starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from talkingavatar.engine.performing.perform import DriveConfig

HELP = """Render a new performance of a fitted avatar to mp4 with sound.

  python -m talkingavatar.drive run=runs/thgs_full-quick-s0-... audio=speech.wav
  python -m talkingavatar.drive run=... audio=talk.mp3 start=10 stop=25 background=#00b140 out=talk.mp4
  python -m talkingavatar.drive run=... motion=captures/another                     its motion and its sound
  python -m talkingavatar.drive run=... motion=captures/another audio=speech.wav    its motion, this sound

  run         run directory of fit, finished or not
  audio       any sound, or a video with sound; the mouth follows it
  motion      another capture, tracked with the same body; without it the body moves as in the run's own capture
  start stop  stretch of the sound, seconds
  background  a colour (white, #rrggbb), or plate: the capture's clean plate. Default: the run's own background
  out         mp4 file. Default: drive-<sound>.mp4 in the run's media folder
  seed        of the idle motion's order, and of what a driver draws (0)
  samples     videos that a driver draws with this seed and those after it; each is as if it were the only one (1)
  speaker     whose style a driver speaks in, of those it was trained on. Default: the run's own

Beside the video lies a report (json): lip opening against the sound, and speed.
Exit codes: 0 done, 2 a mistake in what was given."""

FOLLOWS = 0.2  # cross-validated correlation of the best mouth parameter below which a warning is due
KEYS = ("run", "audio", "motion", "start", "stop", "background", "out", "seed", "samples", "speaker")


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(HELP)
        return 0
    from talkingavatar.runtime.command import ended

    return ended(lambda: _drive(parse(arguments)))


def _drive(config: "DriveConfig") -> int:
    from talkingavatar.engine.performing.perform import drive

    for driven in drive(config):
        _show(driven.report)
        print(f"video: {driven.video}")
    return 0


def parse(arguments: list[str]) -> "DriveConfig":
    """`key=value` arguments.

    Raises:
        UserError: an unknown key, a missing run, or a number that is none.
    """
    from talkingavatar.config.arguments import key_values
    from talkingavatar.errors import UserError

    given = key_values(arguments, KEYS)
    if "run" not in given:
        raise UserError("run", "nothing", "a run directory", "give run=<dir>")
    from talkingavatar.drivers.driver import Prompt
    from talkingavatar.engine.performing.perform import DriveConfig
    from talkingavatar.engine.performing.performance import Request

    if (samples := _number("samples", given.get("samples", "1"), int)) < 1:
        raise UserError("samples", str(samples), "at least 1", "correct it")
    paths = {key: Path(given[key]).expanduser() if key in given else None for key in ("audio", "motion", "out")}
    request = Request(
        audio=paths["audio"],
        motion=paths["motion"],
        start=_number("start", given.get("start", "0"), float),
        stop=_number("stop", given["stop"], float) if "stop" in given else None,
        seed=_number("seed", given.get("seed", "0"), int),
        samples=samples,
        prompt=Prompt(speaker=given.get("speaker")),
    )
    return DriveConfig(Path(given["run"]).expanduser(), request, given.get("background"), paths["out"])


def _number(key: str, text: str, kind: type) -> Any:
    from talkingavatar.errors import UserError

    try:
        return kind(text)
    except ValueError as error:
        raise UserError(key, repr(text), "a number", "correct it") from error


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = f"{report['seconds']:.2f} s, {report['frames']} frames, {report['frames_per_s']:.1f} frames/s rendered"
    table = Table(title=title, caption="lip opening against the sound's loudness")
    columns = {"frames": "{}", "r": "{:.2f}", "best_r": "{:.2f}", "offset": "{:+d}"}
    columns |= {"mean_mm": "{:.1f}", "std_mm": "{:.1f}"}
    table.add_column("lips")
    for name in columns:
        table.add_column(name.replace("_mm", ", mm").replace("_", " "), justify="right")
    for row in report["lips"]:
        cells = ("-" if row[name] is None else form.format(row[name]) for name, form in columns.items())
        table.add_row(row["what"], *cells)
    console.print(table)
    if report["mouth"] and max(part["r"] for part in report["mouth"].values()) < FOLLOWS:
        console.print("the mouth hardly follows the sound in the run's own capture: expect little of it here")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
