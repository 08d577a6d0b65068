"""Drive a fitted avatar: python -m talkingavatar.drive run=runs/... audio=speech.wav"""

import os
import sys
from typing import TYPE_CHECKING, Any

from talkingavatar.paths import user_path

# Two thread pools (torch's, numba's) share the cores: who waits must sleep, not spin. Read before either starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from pathlib import Path

    from talkingavatar.drivers.driver import Prompt
    from talkingavatar.engine.performing.controls import Controls
    from talkingavatar.engine.performing.perform import DriveConfig

HELP = """Render a new performance of a fitted avatar to mp4 with sound.

  python -m talkingavatar.drive run=runs/thgs_full-quick-s0-... audio=speech.wav
  python -m talkingavatar.drive run=... audio=talk.mp3 start=10 stop=25 background=#00b140 out=talk.mp4
  python -m talkingavatar.drive run=... audio=speech.wav emotion="slightly sad, then furious from 3.5s"
  python -m talkingavatar.drive run=... audio=speech.wav au="AU12=2.5 at 6s"
  ffmpeg -f pulse -i default -f wav - | python -m talkingavatar.drive run=... audio=- live=true out=- | ffplay -
  python -m talkingavatar.drive run=... motion=captures/another                     its motion and its sound
  python -m talkingavatar.drive run=... motion=captures/another audio=speech.wav    its motion, this sound

  run         run directory of fit, finished or not
  audio       any sound, or a video with sound; the mouth follows it. -: standard input, spoken as it comes by a driver
              that speaks live: a WAV, or bare samples (16 bits, little-endian, 16 kHz, mono)
  motion      another capture, tracked with the same body; without it the body moves as in the run's own capture
  start stop  stretch of the sound, seconds
  background  a colour (white, #rrggbb), or plate: the capture's clean plate. Default: the run's own background
  out         mp4 file. Default: drive-<sound>.mp4 in the run's media folder. -: Matroska to standard output (audio=-)
  seed        of the idle motion's order, and of what a driver draws (0)
  samples     videos that a driver draws with this seed and those after it; each is as if it were the only one (1)
  emotion     in words, feelings ("very happy but not excited", "80% sad"), what the face does ("raise your left brow
              a little at 2s, blink at 3s"), and when, in seconds of the video (from, at, until, for, then)
  au          action units 0 to 5 ("AU12=2.5 at 6s, AU04L=1 from 2s until 4s"), or OpenFace's CSV of them
  edit        floor: a face does at least what is asked (the default); published: EmoDiffTalk's rule, which scales
  gaze        degrees by which the eyes look to the person's left and up, beyond where they would: 20,-5
  distance    of the head from the camera, in what it would be: 0.5 to 2 (1)
  guidance    of a driver that draws, how far the sound leads it (its own), and action units where it is prompted with
              them: 1.5, or audio=1.15,units=1.3
  steps       of the same, how often noise is taken away (its own)
  live        true: pictures that would come too late for sound in its own time are left out, and counted (false)
  fast        true: from the avatar's baked arrays, which draw the same pictures to 45 dB or refuse (false)
  speaker     whose style a driver speaks in, of those it was trained on. Default: the run's own

Beside the video of a file lie a report (json), lip opening against the sound and speed, and the face's action units
(au.csv). Of sound that comes the end is the end of the pipe, or Ctrl-C.
Exit codes: 0 done, 2 a mistake in what was given."""

FOLLOWS = 0.2  # cross-validated correlation of the best mouth parameter below which a warning is due
KEYS = (
    "run",
    "audio",
    "motion",
    "start",
    "stop",
    "background",
    "out",
    "seed",
    "samples",
    "fast",
    "live",
    "speaker",
    "emotion",
    "au",
    "edit",
    "gaze",
    "distance",
    "guidance",
    "steps",
)


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments:
        return ended(lambda: tell(HELP))
    return ended(lambda: _drive(parse(arguments)))


def _drive(config: "DriveConfig") -> int:
    """
    Raises:
        UserError: a mistake in what was given.
    """
    from talkingavatar.engine.performing.perform import PIPE, drive

    if config.request.audio == PIPE:
        return _live(config)
    for name, asked in (("live", config.live), ("out", config.out == PIPE)):
        if asked:
            from talkingavatar.errors import UserError

            raise UserError(name, "a whole sound", "audio=-, sound that comes through a pipe", "give audio=- < file")
    for driven in drive(config):
        _show(driven.report)
        print(f"video: {driven.video}")
    return 0


def _live(config: "DriveConfig") -> int:
    """Speak what comes; counts are told where errors are, for pictures may go the other way."""
    from talkingavatar.engine.performing.live import Told, drive_live

    told = Told()
    with open(0, "rb", closefd=False) as source:
        drive_live(config, source, told)
    print(f"{told.seconds:.2f} s of sound, {told.frames} frames, {told.late} left out", file=sys.stderr)
    return 0


def parse(arguments: list[str]) -> "DriveConfig":
    """`key=value` arguments.

    Raises:
        UserError: an unknown key, a missing run, or a number that is none.
    """
    from talkingavatar.config.arguments import boolean, choice, key_values, number, whole_number
    from talkingavatar.config.ranges import SEED
    from talkingavatar.errors import UserError

    given = key_values(arguments, KEYS)
    if "run" not in given:
        raise UserError("run", "nothing", "a run directory", "give run=<dir>")
    from talkingavatar.engine.performing.editing import RULES, Edit
    from talkingavatar.engine.performing.perform import DriveConfig
    from talkingavatar.engine.performing.performance import Request

    paths = {key: user_path(given[key]) if key in given else None for key in ("audio", "motion", "out")}
    request = Request(
        audio=paths["audio"],
        motion=paths["motion"],
        start=number("start", given.get("start", "0"), 0.0, 1e6),
        stop=number("stop", given["stop"], 0.0, 1e6) if "stop" in given else None,
        seed=whole_number("seed", given.get("seed", "0"), *SEED),
        samples=whole_number("samples", given.get("samples", "1"), 1, 1000),
        edit=Edit(given.get("emotion"), _units(given.get("au")), choice("edit", given.get("edit", "floor"), RULES)),
        prompt=_prompt(given),
        controls=_controls(given),
    )
    fast, live = (boolean(name, given.get(name, "false")) for name in ("fast", "live"))
    return DriveConfig(user_path(given["run"]), request, given.get("background"), paths["out"], fast, live)


def _units(given: str | None) -> "str | Path | None":
    """A list of action units, or the CSV they stand in."""
    return user_path(given) if given is not None and given.lower().endswith(".csv") else given


def _prompt(given: dict[str, str]) -> "Prompt":
    from talkingavatar.config.arguments import number, whole_number
    from talkingavatar.drivers.driver import Prompt

    guidance = {}
    for part in given["guidance"].split(",") if "guidance" in given else []:
        name, equals, weight = part.rpartition("=")
        guidance[name.strip() if equals else "audio"] = number("guidance", weight, 0.0, 100.0)
    steps = whole_number("steps", given["steps"], 1, 500) if "steps" in given else None
    return Prompt(given.get("speaker"), guidance=guidance, steps=steps)


def _controls(given: dict[str, str]) -> "Controls":
    """
    Raises:
        UserError: no two numbers, or one out of range.
    """
    from talkingavatar.config.arguments import number
    from talkingavatar.engine.performing.controls import FAR, NEAR, SIDE, UP, Controls
    from talkingavatar.errors import UserError

    side, comma, up = given.get("gaze", "0,0").partition(",")
    if not comma:
        raise UserError("gaze", repr(given["gaze"]), "degrees to the side and up, as 20,-5", "give both")
    gaze = number("gaze", side, -SIDE, SIDE), number("gaze", up, -UP, UP)
    return Controls(gaze, number("distance", given.get("distance", "1"), NEAR, FAR))


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
    if report["fast_psnr_db"] is not None:
        console.print(
            f"fast: {report['fast_psnr_db']:.1f} dB from what the whole method draws, in the worst of three frames"
        )
    for note in report["notes"]:
        console.print(note, markup=False)
    if report["mouth"] and max(part["r"] for part in report["mouth"].values()) < FOLLOWS:
        console.print("the mouth hardly follows the sound in the run's own capture: expect little of it here")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
