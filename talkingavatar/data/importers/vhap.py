"""GaussianAvatars' and VHAP's export: `transforms*.json` with OpenGL cameras, masks, FLAME parameters a frame."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE, Model, Span
from talkingavatar.data.importers.cameras import OPENGL_TO_OPENCV, choose_reading, pinhole
from talkingavatar.data.importers.clip import (
    Coverage,
    ImportedClip,
    Options,
    Picture,
    Split,
    default_split,
    fitted_sound,
    read_npz,
    read_picture,
)
from talkingavatar.data.importers.flame import flame_table
from talkingavatar.errors import UserError

FPS = 25.0
OPENGL = "OpenGL axes"
AXES = {OPENGL: OPENGL_TO_OPENCV, "OpenCV axes": np.eye(4)}
PARTS = ("train", "val", "test")


def read_vhap(options: Options) -> ImportedClip:
    """One camera of an export; of several, the one with most frames unless `camera` names another.

    Raises:
        UserError: no transforms, an unknown camera, or a file is missing.
    """
    root = options.path
    rows = _rows(root)
    cameras = Counter(str(row.get("camera_index", 0)) for row in rows)
    camera = options.camera or cameras.most_common(1)[0][0]
    chosen = sorted((r for r in rows if str(r.get("camera_index", 0)) == camera), key=lambda r: r["timestep_index"])
    if not chosen:
        raise UserError("camera", camera, f"one of {', '.join(sorted(cameras))}", "correct it")
    fps, frames = options.fps or FPS, len(chosen)
    files = [_beside(root, row["flame_param_path"]) for row in chosen if "flame_param_path" in row]
    parameters: dict[Model, dict[str, ndarray]] = {}
    axes = OPENGL
    if len(files) == frames:
        canonical = root / "canonical_flame_param.npz"
        neutral = read_npz(canonical) if canonical.is_file() else None
        parameters["flame"] = flame_table([read_npz(file) for file in files], str(root), neutral)
        axes = _axes(chosen[0], parameters["flame"]["transl"][0], str(root))

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        return _picture(root, chosen[index])

    silent = options.audio is None
    sound = np.zeros(0, np.float32) if options.audio is None else read_sound(options.audio, RATE)
    return ImportedClip(
        name=options.name or root.name,
        fps=fps,
        frames=frames,
        picture=picture,
        sound=fitted_sound(sound, frames, fps),
        viewmats=_one_if_same(np.stack([_viewmat(row, AXES[axes]) for row in chosen]))[None],
        Ks=_one_if_same(np.stack([_intrinsics(row) for row in chosen]))[None],
        split=_split(options, chosen),
        parameters=parameters,
        provenance={
            "format": "vhap",
            "source": str(root),
            "camera": camera,
            "axes": axes,
            "timesteps": [chosen[0]["timestep_index"], chosen[-1]["timestep_index"]],
            "sound": "none given: silence" if silent else str(options.audio),
        },
    )


def _rows(root: Path) -> list[dict[str, Any]]:
    """Frames of all parts, each with its part; shared intrinsics written into each."""
    rows: list[dict[str, Any]] = []
    files = {part: root / f"transforms_{part}.json" for part in PARTS}
    found = {part: file for part, file in files.items() if file.is_file()} or {"all": root / "transforms.json"}
    for part, file in found.items():
        try:
            content = json.loads(file.read_text())
            shared = {key: value for key, value in content.items() if not isinstance(value, list)}
            rows += [shared | row | {"part": part} for row in content["frames"]]
        except FileNotFoundError as error:
            expected = "transforms.json, or transforms_train.json and its fellows"
            raise UserError("path", f"{root} without them", expected, "give the exported folder") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(str(file), f"{type(error).__name__}: {error}", "frames", "export it again") from error
    seen: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        seen.setdefault((int(row["timestep_index"]), str(row.get("camera_index", 0))), row)
    return list(seen.values())


def _axes(row: dict[str, Any], head: Float[ndarray, " 3"], source: str) -> str:
    """Which axes the cameras have: those that put the head in front of the camera; OpenGL's if both do."""
    readings = {name: _viewmat(row, turn) for name, turn in AXES.items()}
    return choose_reading(readings, _intrinsics(row), head[None, None], None, source).name


def _viewmat(row: dict[str, Any], turn: Float[ndarray, "4 4"]) -> Float[ndarray, "4 4"]:
    """`transform_matrix` is camera to world."""
    return np.linalg.inv(np.array(row["transform_matrix"], np.float64) @ turn)


def _intrinsics(row: dict[str, Any]) -> Float[ndarray, "3 3"]:
    width, height = row["w"], row["h"]
    fx = row["fl_x"] if "fl_x" in row else width / 2 / np.tan(row["camera_angle_x"] / 2)
    return pinhole(fx, row.get("fl_y", fx), row.get("cx", width / 2), row.get("cy", height / 2))


def _picture(root: Path, row: dict[str, Any]) -> tuple[Picture, Coverage]:
    """The picture with its mask: the file named, the one of its name in fg_masks/, its own alpha, or all of it."""
    file = _beside(root, row["file_path"])
    image = read_picture(file)
    named = row.get("fg_mask_path")
    mask = _beside(root, named) if named else file.parent.parent / "fg_masks" / f"{file.stem}.png"
    if mask.is_file():
        return image, read_picture(mask)[..., 0]
    with Image.open(file) as opened:
        if opened.mode == "RGBA":
            return image, np.array(opened.getchannel("A"))
    return image, np.full(image.shape[:2], 255, np.uint8)


def _beside(root: Path, name: str) -> Path:
    """A path as written in the file; some exports leave the picture's suffix off."""
    file = root / name
    return file if file.suffix else file.with_suffix(".png")


def _one_if_same(matrices: Float[ndarray, "T a b"]) -> Float[ndarray, "C a b"]:
    return matrices[:1] if np.allclose(matrices, matrices[:1]) else matrices


def _split(options: Options, chosen: list[dict[str, Any]]) -> Split:
    """The published parts where they are a head and a tail in time, else the paper's rule."""
    frames = len(chosen)
    test = [i for i, row in enumerate(chosen) if row["part"] == "test"]
    if options.train is None and options.test is None and test and test[0] > 0 and test == list(range(test[0], frames)):
        return [Span(0, test[0])], [Span(test[0], frames)]
    return default_split(options, frames, 0.2, 1)
