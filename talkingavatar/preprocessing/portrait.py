"""One picture to a capture: the rig is fitted to the picture as to a clip that stands still, then a bank moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.config.preprocess import PreprocessConfig
from talkingavatar.data.capture import RATE, Capture, Manifest
from talkingavatar.data.portrait.mesh_warp import MeshWarp
from talkingavatar.data.portrait.portrait import portrait_of
from talkingavatar.data.portrait.record import Still, write_portrait
from talkingavatar.data.portrait.script import script_of
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path
from talkingavatar.preprocessing.assemble import ALL_PARTS, MANIFEST
from talkingavatar.preprocessing.pipeline import VideoWriter, capture_folder, preprocess
from talkingavatar.runtime.files import sha256

FPS = 25.0  # of the bank
FRAMES = 26  # of the clip that stands still: a second is the least that is fitted
SMALLEST = 128  # pixels of a picture's short side
STILL = "still"  # folder in the capture: the portrait's own, with the rig fitted to it
ProgressFunction = Callable[[str, int], Callable[[], None]]


def read_portrait(file: Path) -> UInt8[ndarray, "H W 3"]:
    """A picture as it is meant to be seen: turned upright, in RGB of 8 bits.

    Raises:
        UserError: it is no picture, moves, or is too small.
    """
    try:
        with Image.open(file) as opened:
            count = getattr(opened, "n_frames", 1)
            if count > 1:
                raise UserError("portrait", f"{file}: {count} pictures", "one", "give video=, or one of them")
            upright = ImageOps.exif_transpose(opened)
            deep = upright.mode.startswith("I")
            values = np.asarray(upright, np.float64) if deep else None
            picture = upright.convert("RGBA" if "A" in upright.getbands() or upright.mode == "P" else "RGB")
    except FileNotFoundError as error:
        raise UserError("portrait", f"{file}: nothing there", "a picture", "correct the path") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise UserError("portrait", f"{file}: not to be read ({error})", "a picture", "give another") from error
    if min(picture.size) < SMALLEST:
        found = "{} x {} pixels".format(*picture.size)
        raise UserError("portrait", f"{file}: {found}", f"at least {SMALLEST} each way", "give a larger one")
    if values is not None:  # 16 bits of grey
        return np.repeat((values / 257).round().clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    return np.asarray(picture)


def preprocess_portrait(config: PreprocessConfig, progress: ProgressFunction, video_writer: VideoWriter) -> Manifest:
    """Make the capture of `config.portrait`.

    Raises:
        UserError: a mistake in what was given, or a picture that nothing can be made of.
    """
    file, folder = user_path(str(config.portrait)), capture_folder(config)
    picture = read_portrait(file)
    still = folder / STILL
    if not still.is_dir() and any((folder / name).exists() for name in (MANIFEST, *ALL_PARTS)):
        raise UserError("out", f"{folder}: made by something else", "a folder of its own", "give name=...")
    film = folder / f"{STILL}.mp4"
    if not (still / "capture.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with video_writer(film, FPS, np.zeros(round(FRAMES / FPS * RATE), np.float32)) as writer:
            for _ in range(FRAMES):
                writer.write(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2])
    fitted = replace(config, video=str(film), name=STILL, out=str(still), sound="optional", sync="none", fps=FPS)
    try:
        preprocess(fitted, progress, video_writer)
    except UserError as error:
        if error.field == "video":
            raise UserError("portrait", error.found, error.expected, "give another picture") from error
        raise
    mesh = FaceMesh(load_body("open"))
    source, capture = MeshWarp(mesh), Capture(still)
    seen = Still(portrait_of(capture, 0, mesh), capture.pose([0]), capture.cameras([0]).viewmats[0])
    script = script_of(source, config.frames)
    told = {"portrait": file.name, "sha256": sha256(file)}
    tick = progress("moving the portrait", len(script))
    return write_portrait(folder, config.title, source, seen, script, config.heldout, tick, told)
