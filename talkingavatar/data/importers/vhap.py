"""GaussianAvatars' and VHAP's export: `transforms*.json` with OpenGL cameras, masks, FLAME parameters a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE, Model, Span
from talkingavatar.data.importers.cameras import OPENGL_TO_OPENCV, choose_reading
from talkingavatar.data.importers.clip import (
    COMPLETE,
    Coverage,
    ImportedClip,
    Options,
    Picture,
    Split,
    default_split,
    joined_sound,
    read_picture,
    shots_of,
)
from talkingavatar.data.importers.flame import flame_of_files
from talkingavatar.data.importers.vhap_frames import PICTURES, Export, Frame, find_file, is_file
from talkingavatar.data.matte_values import SURVEYED, Values, read_matte, survey_files
from talkingavatar.errors import UserError

FPS = 25.0
OPENGL = "OpenGL axes"
AXES = {OPENGL: OPENGL_TO_OPENCV, "OpenCV axes": np.eye(4)}
WHOLE = "none: the whole picture"
BLACK, WHITE = 64, 192  # coverage that means nobody, somebody


def read_vhap(options: Options) -> ImportedClip:
    """One camera of an export; of several, the one with most frames unless `camera` names another.

    Raises:
        UserError: no transforms, an unknown camera, a field is malformed, or a file is missing.
    """
    export = Export(options.path)
    camera, chosen, warnings = _chosen(export, options.camera)
    masks = _masks(chosen)
    values = survey_files([mask for mask in masks if isinstance(mask, Path)], f"{options.path}: masks", COMPLETE)
    fps, rate = _rate(options, chosen)
    shots = shots_of([len(run) for run in _runs(chosen)])
    canonical = options.path / "canonical_flame_param.npz"
    flame, unusable = flame_of_files([frame.flame for frame in chosen], canonical if canonical.is_file() else None)
    parameters: dict[Model, dict[str, ndarray]] = {} if flame is None else {"flame": flame}
    axes = OPENGL if flame is None else _axes(chosen[0], flame["transl"][0], str(options.path))
    viewmats = np.stack([np.linalg.inv(frame.to_world @ AXES[axes]) for frame in chosen])
    warnings += _told(export, chosen, masks, rate, flame is not None, unusable)
    if flame is not None and _inverted(chosen, masks, values, viewmats, flame["transl"]):
        values = replace(values, inverted=True)
        warnings.append("the masks are black where the head is and white at the edge: taken as inverted")

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        return _picture(chosen[index], masks[index], values)

    steps = [frame.step for frame in chosen]
    return ImportedClip(
        name=options.name or options.path.resolve().name,
        fps=fps,
        frames=len(chosen),
        picture=picture,
        sound=_sound(options.audio, steps, shots, fps),
        viewmats=_one_if_same(viewmats)[None],
        Ks=_one_if_same(np.stack([frame.K for frame in chosen]))[None],
        split=_split(options, chosen),
        parameters=parameters,
        shots=shots,
        unusable=unusable,
        warnings=warnings,
        provenance={
            "format": "vhap",
            "source": str(options.path),
            "camera": camera,
            "axes": axes,
            "timesteps": [steps[0], steps[-1]],
            "order": "by timestep" if chosen[0].numbered else "as listed: no timestep is stated",
            "rate": rate,
            "masks": masks[0] if isinstance(masks[0], str) else f"files: {values.told()}",
            "sound": "none given: silence" if options.audio is None else str(options.audio),
        },
    )


def _chosen(export: Export, wanted: str | None) -> tuple[str, list[Frame], list[str]]:
    """The camera, its frames in the order of time, and what was guessed."""
    cameras = Counter(entry.camera for entry in export.entries)
    camera = wanted or cameras.most_common(1)[0][0]
    if camera not in cameras:
        raise UserError("camera", camera, f"one of {', '.join(sorted(cameras))}", "correct it")
    chosen = export.frames(camera)
    if len(chosen) < 2:
        raise UserError("path", f"{export.root}: one frame of camera {camera}", "two or more", COMPLETE)
    several = len(cameras) > 1 and wanted is None
    told = f"cameras {', '.join(sorted(cameras))}: {camera} is taken; camera= names another"
    return camera, chosen, [told] if several else []


def _masks(chosen: list[Frame]) -> list[Path | str]:
    """Of each frame the file named or the one of its name in fg_masks/, "alpha" of the picture itself, or none at all.

    Raises:
        UserError: a file that is named is not there, or some frames have a mask and others none.
    """
    found: list[Path | str] = []
    for frame in chosen:
        beside = find_file(frame.picture.parent.parent / "fg_masks" / f"{frame.picture.stem}.png", PICTURES)
        if frame.mask is not None and not is_file(frame.mask):
            raise UserError(f"{frame.place}:fg_mask_path", f"{frame.mask}: no such file", "the person's mask",
                            "copy fg_masks/ beside the pictures, or take fg_mask_path out of the file: "
                            "the whole picture is the person then")  # fmt: skip
        if frame.mask is not None or beside.is_file():
            found.append(frame.mask or beside)
        else:
            with Image.open(frame.picture) as opened:
                found.append("alpha" if opened.mode in ("RGBA", "LA", "PA") else WHOLE)
    if WHOLE in found and len(set(map(str, found))) > 1:
        frame = chosen[found.index(WHOLE)]
        raise UserError(frame.place, "no mask, which other frames have", "a mask for every frame", COMPLETE)
    return found


def _inverted(
    chosen: list[Frame],
    masks: list[Path | str],
    values: Values,
    viewmats: Float[ndarray, "T 4 4"],
    heads: Float[ndarray, "T 3"],
) -> bool:
    """Whether masks are black where the head is, and white along the upper half of the picture's edge."""
    votes = []
    for place in np.unique(np.linspace(0, len(chosen) - 1, SURVEYED).round().astype(int)):
        if isinstance(mask := masks[place], Path):
            matte = read_matte(mask, values, COMPLETE)
            x, y, z = chosen[place].K @ (viewmats[place] @ [*heads[place], 1.0])[:3]
            column, row = (
                int(np.clip(at / z, 0, side - 1)) for at, side in zip((x, y), matte.shape[::-1], strict=True)
            )
            border = np.concatenate([matte[0], matte[: len(matte) // 2, 0], matte[: len(matte) // 2, -1]])
            votes.append(matte[row, column] < BLACK and np.median(border) > WHITE)
    return bool(votes) and bool(np.mean(votes) > 0.5)


def _rate(options: Options, chosen: list[Frame]) -> tuple[float, str]:
    stated = chosen[0].fps
    if options.fps is not None:
        return options.fps, f"{options.fps:g}, given"
    return (stated, f"{stated:g}, stated") if stated is not None else (FPS, f"{FPS:g}, assumed")


def _told(
    export: Export, chosen: list[Frame], masks: list[Path | str], rate: str, flame: bool, unusable: list[int]
) -> list[str]:
    """What was guessed or is missing, a line each."""
    told = []
    if "assumed" in rate:
        told.append(f"no rate is stated: {rate} a second; fps= tells another")
    if not chosen[0].numbered:
        told.append("no timestep is stated: frames are in the order in which they are listed")
    if WHOLE in masks:
        told.append("no masks: the whole picture is taken for the person")
    if export.foreign:
        told.append(f"paths of another machine ({sorted(export.foreign)[0]}) are taken as lying in {export.root}")
    if export.distorted:
        told.append(f"a lens's distortion ({', '.join(sorted(export.distorted))}) is stated; it is not undone")
    if not flame:
        told.append("no frame has FLAME parameters: the head is not tracked")
    elif unusable:
        told.append(
            f"{len(unusable)} of {len(chosen)} frames have no FLAME parameters (the first: {unusable[0]}): unusable"
        )
    if len(_runs(chosen)) > 1:
        told.append(f"timesteps are missing: {len(_runs(chosen))} shots")
    return told


def _runs(chosen: Sequence[Frame]) -> list[list[Frame]]:
    """Frames that follow each other in time; where all are equally far apart, they do."""
    gaps = [b.step - a.step for a, b in pairwise(chosen)]
    runs = [[chosen[0]]]
    for frame, gap in zip(chosen[1:], gaps, strict=True):
        if gap == min(gaps):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _sound(file: Path | None, steps: list[int], shots: list[tuple[int, int]], fps: float) -> Float[ndarray, " N"]:
    """From the first frame on; what sounds while frames are missing is left out."""
    samples = np.zeros(0, np.float32) if file is None else read_sound(file, RATE)
    stride = min(b - a for a, b in pairwise(steps))
    starts = [round((steps[start] - steps[0]) / stride / fps * RATE) for start, _ in shots]
    return joined_sound([samples[start:] for start in starts], shots, fps)


def _axes(frame: Frame, head: Float[ndarray, " 3"], source: str) -> str:
    """Which axes the cameras have: those that put the head in front of the camera; OpenGL's if both do."""
    readings = {name: np.linalg.inv(frame.to_world @ turn) for name, turn in AXES.items()}
    return choose_reading(readings, frame.K, head[None, None], None, source).name


def _picture(frame: Frame, mask: Path | str, values: Values) -> tuple[Picture, Coverage]:
    image = read_picture(frame.picture)
    if isinstance(mask, Path):
        return image, read_matte(mask, values, COMPLETE)
    if mask == "alpha":
        with Image.open(frame.picture) as opened:
            return image, np.array(opened.convert("RGBA").getchannel("A"))
    return image, np.full(image.shape[:2], 255, np.uint8)


def _one_if_same(matrices: Float[ndarray, "T a b"]) -> Float[ndarray, "C a b"]:
    return matrices[:1] if np.allclose(matrices, matrices[:1]) else matrices


def _split(options: Options, chosen: list[Frame]) -> Split:
    """The published parts where they are a head and a tail in time, else the paper's rule."""
    frames = len(chosen)
    test = [i for i, frame in enumerate(chosen) if frame.part == "test"]
    if options.train is None and options.test is None and test and test[0] > 0 and test == list(range(test[0], frames)):
        return [Span(0, test[0])], [Span(test[0], frames)]
    return default_split(options, frames, 0.2, 1)
