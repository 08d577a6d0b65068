"""Make a capture of a video: python -m talkingavatar.preprocess video=clip.mp4 name=me"""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

# Two thread pools (torch's, numba's) share the cores: who waits must sleep, not spin. Read before either starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from talkingavatar.preprocessing.pipeline import Outcome
    from talkingavatar.runtime.signals import StopFlag

FINE = 8  # x264's constant rate factor of a film that is read again

HELP = """Make a capture of a video of one person who talks, continuing where an earlier start left off.

  python -m talkingavatar.preprocess video=clip.mp4 name=me
  python -m talkingavatar.preprocess video=interview.mov name=guest crop=600,0,1320,1080 start=12 end=40
  python -m talkingavatar.preprocess portrait=photo.png name=her
  python -m talkingavatar.preprocess portrait=photo.png name=hers source=liveportrait motion=captures/me
  python -m talkingavatar.fit experiment=thgs_full data=capture data.path=captures/me

  portrait        instead of a video: one photograph, whole; the head is found and cut out, and motions of other people
                  move it (frames are made, not filmed). With it go name, out, crop, size, heldout, progress, frames,
                  source, motion and weights
  frames          of a portrait's motion, at 25 a second (600)
  source          what moves it: mesh_code (in the package), or liveportrait, whose files are found and never fetched
                  (doctor says where); a film is made, and tracked as your own would be
  motion          of liveportrait: a capture (of a film), a template (.pkl), or a sound, which JoyVASA's or
                  Ditto's files tell motion from. Default: speech that the package has
  weights         folder of those files. Default: $TALKINGAVATAR_WEIGHTS, the cache's weights, the hub's cache
  video           any film ffmpeg reads: HDR, interlaced, rotated, variable frame rate, raw streams; or a capture that
                  import_capture made, to fit a rig to: its pictures, mattes, sound and split stay
  name, out       of the capture; its folder. Default: the file's name, in ./captures or $TALKINGAVATAR_CAPTURES
  start, end      seconds of the clip that are taken
  fps             of the capture, and of a raw stream that tells none. Default: the source's, rounded to a usual rate
                  of at most 30
  crop            x0,y0,x1,y1 in pixels of the upright source
  size            long side of the capture in pixels (640; of a portrait 512); smaller videos are not enlarged
  sound           required, or optional for an avatar that hears nothing
  sync            auto: the sound's offset to the lips is measured and corrected where it is sure; none; or a number
                  of frames by which the sound comes after the lips (it is moved that much earlier)
  landmarks       mediapipe (in an environment of its own, made on first use), openpose, openface
  landmarks_path  OpenPose: folder of JSON files, or one with all frames; OpenFace: CSV file
  mattes          a folder of pictures or a video of mattes made elsewhere. Both may be of the clip's frames or of all
                  pictures of its video: they are placed by their numbers; capture.json tells how they were read
  body            open, smplx (whole body); open_flame, flame (the head alone); body_path, gender: of licensed ones
  smooth          weight of the motion's smoothness (1)
  heldout         share of the clip, at its end, that is never trained on (0.2)
  stride          every n-th frame of the first part is trained on. Default: 1, or what leaves about 400 frames
  progress        false for no progress bars

Stages (ingest, landmarks, matte, align) lie in <capture>/work, each done once for its version, options and inputs.
Look at work/contact_sheet.png and work/overlay/overlay.mp4.
Exit codes: 0 finished, 2 a mistake in what was given, 75 stopped by a signal, start again to continue."""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments:
        return ended(lambda: tell(HELP))
    return ended(lambda: _preprocess(arguments))


def _preprocess(arguments: list[str]) -> int:
    from talkingavatar.config.preprocess import read_arguments

    config = read_arguments(arguments)
    from talkingavatar.runtime.signals import Preempted, stop_flag

    with stop_flag() as flag, ExitStack() as stack:
        from talkingavatar.engine.media.writer import VideoWriter
        from talkingavatar.preprocessing.imported import is_capture, preprocess_imported
        from talkingavatar.preprocessing.pipeline import capture_folder, preprocess

        bars = Bars(config.progress, flag)
        stack.callback(bars.close)
        try:
            if config.source == "liveportrait":
                from talkingavatar.preprocessing.live_portrait import preprocess_live_portrait

                outcome = preprocess_live_portrait(config, bars, VideoWriter, partial(VideoWriter, crf=FINE))
            elif config.portrait is not None:
                from talkingavatar.preprocessing.portrait import preprocess_portrait

                made = preprocess_portrait(config, bars)
                print(f"{made.frames} frames, {len(made.unusable)} of them not to be learned from")
                print(f"capture: {capture_folder(config)}")
                return 0
            elif is_capture(config.video):
                outcome = preprocess_imported(config, bars, VideoWriter)
            else:
                outcome = preprocess(config, bars, VideoWriter)
        except Preempted:
            print("stopped; start the same command again to continue")
            print(f"capture: {capture_folder(config)}")
            return 75
    _show(outcome)
    print(f"capture: {outcome.folder}")
    return 0


class Bars:
    """One progress bar after another; each piece of work also looks whether the command was asked to stop."""

    def __init__(self, show: bool, flag: "StopFlag") -> None:
        self.show, self.flag = show, flag
        self.open = ExitStack()

    def __call__(self, title: str, total: int) -> Callable[[], None]:
        from talkingavatar.runtime.progress import ProgressBar

        self.close()
        bar = self.open.enter_context(ProgressBar(title, total, self.show))

        def advance() -> None:
            bar.advance()
            self.flag.check()

        return advance

    def close(self) -> None:
        self.open.close()


def _show(outcome: "Outcome") -> None:
    """What was found, and where to look."""
    from rich.console import Console
    from rich.table import Table

    found = outcome.report
    table = Table(title=f"{found['name']}: {found['frames']} frames, {found['fps']:.5g} fps", show_header=False)
    for name, value in _rows(found).items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    distances = Table(title="mean distance of the fitted body's landmarks, pixels")
    distances.add_column("stage")
    parts = ("hand", "body", "face", "lips")
    for part in parts:
        distances.add_column(part, justify="right")
    for stage, row in found["landmark_distance_px"].items():
        distances.add_row(stage, *("–" if row[part] != row[part] else f"{row[part]:.2f}" for part in parts))
    console.print(distances)
    for file in ("contact_sheet.png", "overlay/overlay.mp4", "report.json"):
        console.print(f"look: {outcome.folder / 'work' / file}", soft_wrap=True, highlight=False)


def _rows(found: dict[str, Any]) -> dict[str, str]:
    """Names and values of the table."""
    source, offset, seconds = found["source"], found["offset"], found["seconds"]
    if offset["frames"] is None:
        lag = f"cannot be told: {offset['why']}"
    else:
        side = "after" if offset["frames"] >= 0 else "before"
        sure = "sure" if offset["sure"] else "not sure"
        lag = f"{abs(offset['frames']):g} frames {side} the lips ({sure}: correlation {offset['correlation']:.2f})"
    shots = ", ".join(f"{start}–{stop - 1}" for start, stop in found["shots"])
    return {
        "size": "{} × {}".format(*found["size"])
        + " of {} × {}".format(*source["source_size"])
        + f", {source['codec']}",
        "shots": f"{len(found['shots'])} ({shots})" if len(found["shots"]) <= 8 else str(len(found["shots"])),
        "sound": lag + f"; moved {offset['corrected_frames']:g} frames earlier" if found["sound"] else "none",
        "seen": ", ".join(f"{part.replace('_', ' ')} {share:.0%}" for part, share in found["seen"].items()),
        "frames": f"{found['trained']} trained on, {found['heldout']} held out, {found['unusable']} unusable",
        "clean plate": "yes" if found["clean_plate"] else "no",
        "seconds": ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
