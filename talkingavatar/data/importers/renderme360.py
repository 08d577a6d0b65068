"""RenderMe-360: SMC containers (HDF5, through the optional h5py), or the tree its public tool unfolds them into."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.features import resample
from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE
from talkingavatar.data.importers.cameras import Reading, choose_reading, pinhole
from talkingavatar.data.importers.clip import (
    Coverage,
    ImportedClip,
    Options,
    Picture,
    default_split,
    fitted_sound,
    read_picture,
)
from talkingavatar.data.importers.flame import flame_table
from talkingavatar.errors import UserError

FPS, CAMERA = 30.0, "25"
READINGS = "camera to world", "world to camera"  # of RT; the official code takes the first
LANDMARK_FRAMES = 10


@runtime_checkable
class Source(Protocol):
    """One performance seen by one camera, from either form."""

    name: str
    frames: int
    facts: dict[str, Any]

    def picture(self, index: int) -> tuple[Picture, Coverage]: ...
    def calibration(self) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]: ...
    def sound(self) -> Float[ndarray, " N"] | None: ...
    def landmarks(self, index: int) -> tuple[ndarray, ndarray] | None: ...
    def flame(self) -> dict[str, ndarray] | None: ...


def read_renderme360(options: Options) -> ImportedClip:
    """One performance by one camera (default 25, in front).

    Raises:
        UserError: h5py is missing, the camera is unknown, or a file is missing or damaged.
    """
    camera = f"{int(options.camera or CAMERA):02d}"
    unfolded = (options.path / "calib.json").is_file()
    source: Source = Unfolded(options.path, camera) if unfolded else Smc.open(options.path, options.sequence, camera)
    fps, frames = options.fps or FPS, source.frames
    K, RT = source.calibration()
    reading = _reading(source, K, RT)
    sound = source.sound() if options.audio is None else read_sound(options.audio, RATE)
    flame = source.flame()
    return ImportedClip(
        name=options.name or source.name,
        fps=fps,
        frames=frames,
        picture=source.picture,
        sound=fitted_sound(np.zeros(0, np.float32) if sound is None else sound, frames, fps),
        viewmats=reading.viewmat[None],
        Ks=K[None],
        split=default_split(options, frames, 0.2, 1),
        tables={} if flame is None else {"flame": flame},
        provenance={
            "format": "renderme360",
            "source": str(options.path),
            "camera": camera,
            "RT": reading.name,
            "reprojection_px": None if np.isnan(reading.error_px) else reading.error_px,
            "sound": "none: silence" if sound is None else "own" if options.audio is None else str(options.audio),
            "facts": source.facts,
        },
    )


def _reading(source: Source, K: Float[ndarray, "3 3"], RT: Float[ndarray, "4 4"]) -> Reading:
    """RT in the sense in which the 3D keypoints project onto the 2D ones, where both are there."""
    readings = dict(zip(READINGS, (np.linalg.inv(RT), RT), strict=True))
    for index in range(min(LANDMARK_FRAMES, source.frames)):
        pair = source.landmarks(index)
        if pair is not None and len(pair[0]) == len(pair[1]):
            seen = np.concatenate([pair[1][:, :2], np.ones((len(pair[1]), 1))], 1)
            return choose_reading(readings, K, pair[0][None, :, :3], seen[None], "Calibration")
    return Reading(READINGS[0], readings[READINGS[0]], np.nan, np.nan)


@dataclass
class Smc:
    """A pair of containers: pictures and sound in `raw`, calibration, masks and fits in `anno`."""

    raw: Any
    anno: Any
    camera: str
    name: str
    frames: int
    facts: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def open(path: Path, sequence: str | None, camera: str) -> Smc:
        """Of a container, its fellow, or a folder that holds them (or raw/ and anno/)."""
        try:
            import h5py
        except ImportError as error:
            raise UserError(
                "path", "h5py not installed", "h5py to read SMC files", "pip install talkingavatar[renderme]"
            ) from error
        files = find_pair(path, sequence)
        opened = []
        for file in files:
            try:
                opened.append(h5py.File(file, "r"))
            except OSError as error:
                raise UserError(str(file), f"not readable ({error})", "an SMC container", "get it again") from error
        raw, anno = opened
        if camera not in raw["Camera"] or "color" not in raw["Camera"][camera]:
            there = ", ".join(sorted(key for key in raw["Camera"] if "color" in raw["Camera"][key]))
            raise UserError("camera", camera, f"one of {there}", "correct it")
        facts = {key: _plain(value) for key, value in raw.attrs.items()}
        frames = len(raw["Camera"][camera]["color"])
        return Smc(raw, anno, camera, files[0].name.removesuffix("_raw.smc"), frames, facts)

    def picture(self, index: int) -> tuple[Picture, Coverage]:
        image = _decode(self.raw["Camera"][self.camera]["color"][str(index)][()])
        masks = self.anno["Camera"][self.camera] if self.camera in self.anno.get("Camera", {}) else {}
        if "mask" not in masks:
            return image, np.full(image.shape[:2], 255, np.uint8)
        return image, _decode(masks["mask"][str(index)][()]).max(2)

    def calibration(self) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
        entry = self.anno["Calibration"][self.camera]
        self.facts["distortion, not corrected"] = np.ravel(entry["D"][()]).tolist()
        return np.array(entry["K"][()], np.float64), np.array(entry["RT"][()], np.float64)

    def sound(self) -> Float[ndarray, " N"] | None:
        entry = self.raw["Camera"].get("00", {})
        if "audio" not in entry:
            return None
        samples = np.asarray(entry["audio"]["audio"][()])
        rate = int(np.ravel(entry["audio"]["sample_rate"][()])[0])
        whole = samples.dtype.kind in "iu" or np.abs(samples).max(initial=0) > 2
        samples = samples.astype(np.float32) / (32768 if whole else 1)
        return resample(samples.mean(1) if samples.ndim == 2 else samples, rate)

    def landmarks(self, index: int) -> tuple[ndarray, ndarray] | None:
        flat, solid = self.anno.get("Keypoints2d", {}), self.anno.get("Keypoints3d", {})
        if self.camera not in flat or str(index) not in solid:
            return None
        rows = flat[self.camera]  # a group by frame, or one array
        if hasattr(rows, "keys") and str(index) not in rows:
            return None
        return np.asarray(solid[str(index)][()]), np.asarray(rows[str(index)] if hasattr(rows, "keys") else rows[index])

    def flame(self) -> dict[str, ndarray] | None:
        """Of expression parts only, and only where every frame has it."""
        group = self.anno.get("FLAME", {})
        if any(str(i) not in group for i in range(self.frames)):
            return None
        skipped = ("verts", "albedos")
        rows = [{k: v[()] for k, v in group[str(i)].items() if k not in skipped} for i in range(self.frames)]
        return flame_table(rows, "FLAME")


class Unfolded:
    """`images/`, `masks/`, `lmks_2d/`, `lmks_3d/` with <frame:05>_<camera:02>, `audios/`, and calib.json."""

    def __init__(self, root: Path, camera: str) -> None:
        self.root, self.camera, self.name = root, camera, root.name
        content = json.loads((root / "calib.json").read_text())
        self.rows = [row for row in content["frames"] if int(row["camera_index"]) == int(camera)]
        if not self.rows:
            there = sorted({f"{int(row['camera_index']):02d}" for row in content["frames"]})
            raise UserError("camera", camera, f"one of {', '.join(there)}", "correct it")
        self.frames = sum(self._file("images", int(row["timestep_index"]), "png").is_file() for row in self.rows)
        self.facts: dict[str, Any] = {key: value for key, value in content.items() if key != "frames"}

    def picture(self, index: int) -> tuple[Picture, Coverage]:
        image = read_picture(self._file("images", index, "png"))
        mask = self._file("masks", index, "png")
        return image, read_picture(mask).max(2) if mask.is_file() else np.full(image.shape[:2], 255, np.uint8)

    def calibration(self) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
        row = self.rows[0]
        K = pinhole(*(float(row[key]) for key in ("fx", "fy", "cx", "cy")))
        return K, np.array(row["transform_matrix"], np.float64)

    def sound(self) -> Float[ndarray, " N"] | None:
        files = sorted((self.root / "audios").glob("*.wav")) + sorted((self.root / "audios").glob("*.mp3"))
        return read_sound(files[0], RATE, str(files[0])) if files else None

    def landmarks(self, index: int) -> tuple[ndarray, ndarray] | None:
        files = [self._file(folder, index, "npy") for folder in ("lmks_3d", "lmks_2d")]
        return (np.load(files[0]), np.load(files[1])) if all(file.is_file() for file in files) else None

    def flame(self) -> dict[str, ndarray] | None:
        """The tool does not unfold it."""
        return None

    def _file(self, folder: str, index: int, suffix: str) -> Path:
        return self.root / folder / f"{index:05d}_{self.camera}.{suffix}"


def find_pair(path: Path, sequence: str | None) -> tuple[Path, Path]:
    """The raw and the anno container of one performance.

    Raises:
        UserError: there is none, or several to choose from.
    """
    folder = path if path.is_dir() else path.parent
    pattern = "*_raw.smc" if path.is_dir() else re.sub(r"_(raw|anno)\.smc$", "_raw.smc", path.name)
    places = [folder, *(parent / kind for parent in (folder, folder.parent) for kind in ("raw", "anno"))]
    places += [folder.parent.parent / kind / folder.name for kind in ("raw", "anno")]
    raws = sorted({file for place in places for file in place.glob(pattern)})
    if sequence is not None:
        raws = [file for file in raws if file.name.endswith(f"_{sequence}_raw.smc")]
    if len(raws) != 1:
        there = ", ".join(file.name for file in raws) or "no *_raw.smc"
        raise UserError("path", f"{path}: {there}", "one performance", "give one container, or sequence=<part>")
    name = raws[0].name.replace("_raw.smc", "_anno.smc")
    anno = next((place / name for place in places if (place / name).is_file()), None)
    if anno is None:
        raise UserError("path", f"{raws[0]} without {name}", "both containers", "put it beside the other")
    return raws[0], anno


def _decode(encoded: ndarray) -> Picture:
    """Encoded bytes to RGB (OpenCV, which the published reader uses, would give BGR)."""
    try:
        with Image.open(io.BytesIO(np.asarray(encoded).tobytes())) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise UserError(
            "path", f"a damaged picture ({error})", "encoded pictures", "get the container again"
        ) from error


def _plain(value: Any) -> Any:
    """An HDF5 attribute as json takes it."""
    value = value.item() if isinstance(value, np.generic) else value
    value = value.decode() if isinstance(value, bytes) else value
    return value.tolist() if isinstance(value, ndarray) else value
