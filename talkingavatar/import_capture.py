"""Make a capture of a published dataset: python -m talkingavatar.import_capture from=thgs path=<folder> name=fah"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from talkingavatar.paths import user_path

if TYPE_CHECKING:
    from talkingavatar.data.importers import Options

HELP = """Write a published dataset as a capture, to fit with data=capture data.path=<folder>.

  python -m talkingavatar.import_capture from=thgs path=TalkingAvatar/Fah
  python -m talkingavatar.import_capture from=vhap path=export/306 camera=8 fps=25 audio=306.wav
  python -m talkingavatar.import_capture from=renderme360 path=0026_s1_raw.smc camera=25 width=612
  python -m talkingavatar.import_capture from=emotalk3d path=EmoTalk3D layout=0048.yaml test_views=cam_09
  python -m talkingavatar.import_capture from=adnerf path=ER-NeRF/data/may

  from        thgs (TalkingAvatar's release), vhap (GaussianAvatars' and VHAP's transforms.json),
              renderme360 (SMC containers, or the unfolded tree), emotalk3d (any layout a YAML describes), adnerf
              (transforms_*.json of AD-NeRF, RAD-NeRF, ER-NeRF, TalkingGaussian, GaussianTalker, SyncTalk)
  path        the dataset's folder or file
  name, out   the capture's name, and its folder. Default: <name> in $TALKINGAVATAR_CAPTURES or ./captures
  fps         where the dataset does not tell (thgs 30, vhap 25, renderme360 30, adnerf 25)
  width       pictures are scaled to it, pixels
  camera      of several: one index or name. Of renderme360 and emotalk3d all are taken; this is the first view,
              which is trained on
  test_views  cameras that are held out, with commas between, or none. Default: the last of several
  sequence    of several, or some of them with commas between. Default for renderme360: all speech; for emotalk3d: all.
              They become shots of one capture, and the last fifth of the sentences is held out
  audio       sound that is kept apart
  body        SMPL-X model file: needed where hands are stored as components
  layout      YAML with path templates; see talkingavatar/data/importers/emotalk3d.py
  train test  frames, as published: first-last:step, the last one included, e.g. train=0-1500:4 test=1500-1799

Exit codes: 0 done, 2 a mistake in what was given."""

KEYS = (
    "from", "path", "name", "out", "fps", "width", "camera", "sequence", "test_views", "audio", "body", "layout",
    "train", "test",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.config.arguments import key_values
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments:
        return ended(lambda: tell(HELP))
    return ended(lambda: _import(key_values(arguments, KEYS)))


def _import(given: dict[str, str]) -> int:
    from difflib import get_close_matches

    from talkingavatar.data.importers import FORMATS, write_clip
    from talkingavatar.errors import UserError
    from talkingavatar.runtime.progress import ProgressBar

    form = given.get("from", "nothing")
    if form not in FORMATS:
        near = get_close_matches(form, FORMATS, cutoff=0.6)
        raise UserError(
            "from", form, f"one of {', '.join(FORMATS)}", f"did you mean {near[0]}?" if near else "give one"
        )
    options = _options(given)
    clip = FORMATS[form](options)
    root = user_path(os.environ.get("TALKINGAVATAR_CAPTURES", "captures"))
    folder = user_path(given["out"]) if "out" in given else root / clip.name
    with ExitStack() as stack:
        bars = lambda title, total: stack.enter_context(ProgressBar(title, total)).advance  # noqa: E731
        write_clip(clip, folder, options.width, bars)
    for line in clip.warnings:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{clip.frames} frames at {clip.fps:g} a second, {len(clip.unusable)} of them unusable")
    print(f"views: {', '.join(clip.views)}; held out: {', '.join(clip.test_views) or 'none'}")
    for key, value in clip.provenance.items():
        print(f"{key}: {value}")
    print(f"capture: {folder}")
    return 0


def _options(given: dict[str, str]) -> "Options":
    from talkingavatar.data.importers import Options
    from talkingavatar.errors import UserError

    if "path" not in given:
        raise UserError("path", "nothing", "the dataset's folder or file", "give path=<folder>")
    path = user_path(given["path"])
    if not path.exists():
        raise UserError("path", f"{path}: no such file or folder", "the dataset", "correct it")

    def file(key: str) -> Path | None:
        return user_path(given[key]) if key in given else None

    try:
        options = Options(
            path=path,
            name=given.get("name"),
            fps=float(given["fps"]) if "fps" in given else None,
            width=int(given["width"]) if "width" in given else None,
            camera=given.get("camera"),
            test_views=_views(given["test_views"]) if "test_views" in given else None,
            sequence=given.get("sequence"),
            audio=file("audio"),
            body=file("body"),
            layout=file("layout"),
            train=_frames(given["train"]) if "train" in given else None,
            test=_frames(given["test"]) if "test" in given else None,
        )
    except ValueError as error:
        raise UserError("fps, width, train, test", str(error), "numbers, first-last:step", "correct them") from error
    _check_ranges(options)
    return options


def _check_ranges(options: "Options") -> None:
    from talkingavatar.errors import UserError

    for key, value, least, most in (("fps", options.fps, 1, 1000), ("width", options.width, 16, 32768)):
        if value is not None and not least <= value <= most:
            raise UserError(key, f"{value:g}", f"{least} to {most}", "correct it")
    for key, frames in (("train", options.train), ("test", options.test)):
        if frames is not None and frames[2] < 1:
            raise UserError(key, f"step {frames[2]}", "a step of 1 or more", "correct it")


def _views(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


def _frames(text: str) -> tuple[int, int, int]:
    ends, _, step = text.partition(":")
    first, _, last = ends.partition("-")
    numbers = int(first), int(last), int(step or 1)
    if not (numbers[0] <= numbers[1] and numbers[2] >= 1):
        raise ValueError(text)
    return numbers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
