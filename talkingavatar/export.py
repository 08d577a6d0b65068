"""Write an avatar as files of other programs: python -m talkingavatar.export run=runs/... to=ply,glb"""

import sys
from typing import TYPE_CHECKING

from talkingavatar.paths import user_path

if TYPE_CHECKING:
    from talkingavatar.engine.performing.performance import Performance
    from talkingavatar.exporters.bake import BakedRun
    from talkingavatar.exporters.bake_errors import Most
    from talkingavatar.exporters.export import ExportConfig

HELP = """Write a fitted avatar as files that other programs open.

  python -m talkingavatar.export run=runs/thgs_full-quick-s0-... to=ply
  python -m talkingavatar.export run=... to=splat,spz,sog,glb frame=120 out=shared
  python -m talkingavatar.export run=... to=glb actions="jawOpen=0.5,mouthSmileLeft=1,mouthSmileRight=1"
  python -m talkingavatar.export run=... to=html                          a page to send: it needs no server
  python -m talkingavatar.export run=... to=html,frames audio=speech.wav  of new speech

  run      run directory of fit, finished or not
  to       with commas between:
           ply    of the 3D Gaussian splatting reference code, which every viewer reads (SuperSplat, Blender's add-ons)
           splat  of antimatter15/splat, 32 bytes a Gaussian
           spz    Niantic's, version 3, about a tenth of a .ply
           sog    PlayCanvas', version 2
           glb    glTF 2.0 with KHR_gaussian_splatting (release candidate): beside the still Gaussians lies what moves
                  them, so that `view run=avatar-120.glb` shows it without its run
           html   one page that any current browser opens from a folder: it plays the run's capture, or the speech given
                  by audio, with sound; the avatar is turned by hand, its face is moved by sliders
           frames a folder of .ply, a frame each, of the speech given by audio
  frame    of the run's capture whose pose it is. Default: the middle one of those held out
  actions  strengths of the body's facial actions, which are the whole face then. Default: the face of the frame
  audio    any sound, or a video with sound: what is spoken in frames and html
  bake     false: a glb that stands still. true: one that moves, or an error. Default: it moves where it can
  most     what may be between a baked avatar and its method in held-out frames: millimetres in the mean of mouth, head
           and body, and decibels of the worst picture; or any (0.5,45)
  seed     of the idle motion's order, and of what a driver draws (0)
  world    true: leave the axes as they are, y up and the face along z, in every format. ply, splat and sog are else
           turned by 180 degrees about z, as their viewers turn them back (false)
  out      folder. Default: exports in the run's folder

Surfels are written as discs of a thousandth of their width. Exit codes: 0 done, 2 a mistake in what was given."""

KEYS = ("run", "to", "frame", "actions", "audio", "bake", "most", "seed", "world", "out")
FORMATS = ("ply", "splat", "spz", "sog", "glb", "html", "frames")


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments:
        return ended(lambda: tell(HELP))
    return ended(lambda: _export(parse(arguments)))


def _export(config: "ExportConfig") -> int:
    from talkingavatar.exporters.export import export

    exported = export(config, _page)
    for note in exported.notes:
        print(note)
    for file in exported.files:
        print(f"file: {file}")
    return 0


def _page(baked: "BakedRun", performance: "Performance | None", notes: list[str]) -> str:
    from talkingavatar.viewer.opened import shown_of
    from talkingavatar.viewer.whole import whole_page

    return whole_page(shown_of(baked.trained, baked, performance, notes))


def parse(arguments: list[str]) -> "ExportConfig":
    """`key=value` arguments.

    Raises:
        UserError: an unknown key or format, a missing run, a sound that is missing or not asked for, or a number that
            is none.
    """
    from talkingavatar.config.arguments import boolean, choice, key_values, whole_number
    from talkingavatar.config.ranges import SEED
    from talkingavatar.errors import UserError

    given = key_values(arguments, KEYS)
    for key, expected in (("run", "a run directory"), ("to", f"formats of {', '.join(FORMATS)}")):
        if key not in given:
            raise UserError(key, "nothing", expected, f"give {key}=...")
    to = tuple(dict.fromkeys(choice("to", name.strip(), FORMATS) for name in given["to"].split(",")))
    if "frames" in to and "audio" not in given:
        raise UserError("audio", "nothing", "a sound to speak in frames", "give audio=...")
    if "audio" in given and not {"frames", "html"} & set(to):
        raise UserError(
            "audio", given["audio"], "to=html or frames, which move", "ask for one of them, or leave it out"
        )
    actions = _actions(given.get("actions", ""))
    from talkingavatar.exporters.export import ExportConfig

    return ExportConfig(
        user_path(given["run"]),
        to,
        frame=whole_number("frame", given["frame"]) if "frame" in given else None,
        actions=actions,
        world=boolean("world", given.get("world", "false")),
        audio=user_path(given["audio"]) if "audio" in given else None,
        bake=boolean("bake", given["bake"]) if "bake" in given else None,
        most=_most(given.get("most", "0.5,45")),
        seed=whole_number("seed", given.get("seed", "0"), *SEED),
        out=user_path(given["out"]) if "out" in given else None,
    )


def _most(given: str) -> "Most | None":
    """
    Raises:
        UserError: neither two numbers nor any, or one out of range.
    """
    from talkingavatar.config.arguments import number
    from talkingavatar.errors import UserError
    from talkingavatar.exporters.bake_errors import Most

    if given == "any":
        return None
    millimetres, comma, decibels = given.partition(",")
    if not comma:
        raise UserError("most", repr(given), "millimetres and decibels, as 0.5,45, or any", "give both")
    return Most(number("most", millimetres, 0.0, 1000.0), number("most", decibels, 0.0, 100.0))


def _actions(given: str) -> dict[str, float]:
    """
    Raises:
        UserError: not of the form name=strength, or a strength out of range.
    """
    from talkingavatar.config.arguments import number
    from talkingavatar.errors import UserError

    found = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        name, equals, strength = part.partition("=")
        if not equals:
            raise UserError("actions", repr(part), "name=strength", "as in actions=jawOpen=0.5,mouthSmileLeft=1")
        found[name.strip()] = number(f"actions:{name.strip()}", strength, -2.0, 2.0)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
