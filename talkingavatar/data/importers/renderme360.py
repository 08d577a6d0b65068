"""RenderMe-360: SMC containers (HDF5, through the optional h5py), or the tree its public tool unfolds them into."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.features import resample
from talkingavatar.audio.mono import as_float, to_mono
from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE, Model, Table
from talkingavatar.data.importers.cameras import Reading, choose_reading, over_shots, pinhole, rigid
from talkingavatar.data.importers.clip import (
    COMPLETE,
    Coverage,
    ImportedClip,
    Options,
    Picture,
    held_out_views,
    joined_sound,
    read_picture,
    sentence_split,
    shots_of,
)
from talkingavatar.data.importers.flame import flame_table
from talkingavatar.data.matte_values import Values, read_matte, survey_files
from talkingavatar.data.stated import Stated, read_json
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import check_array, read_npy

FPS, CAMERA = 30.0, 25
READINGS = "camera to world", "world to camera"  # of RT; the official code takes the first
LANDMARK_FRAMES = 10
EXPRESSION = re.compile(
    r"(?:^|_)(e\d+)(?:_|$)"
)  # in a performance's name; of e1 to e11 no documentation says what is shown
SPEECH = re.compile(r"_s\d+(_\w+)?_raw\.smc")


@runtime_checkable
class Source(Protocol):
    """One performance, from either form. Cameras are called by two digits."""

    name: str
    facts: dict[str, Any]

    def frames(self) -> dict[str, int]: ...  # of every camera with pictures and a calibration
    def picture(self, camera: str, index: int) -> tuple[Picture, Coverage]: ...
    def calibration(self, camera: str) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]: ...
    def sound(self) -> Float[ndarray, " N"] | None: ...
    def landmarks(self, camera: str, index: int) -> tuple[ndarray, ndarray] | None: ...
    def flame(self, frames: int) -> list[dict[str, ndarray]] | None: ...


def read_renderme360(options: Options) -> ImportedClip:
    """Performances of a person by all cameras that saw them whole; the first view is camera 25, in front, by default.

    Raises:
        UserError: h5py is missing, the camera is unknown, or a file is missing or damaged.
    """
    parts = open_performances(options.path, options.sequence)
    first = options.camera or str(CAMERA)
    views = _views(parts, f"{int(first):02d}" if first.isdecimal() else first)
    lengths = [part.frames()[views[0]] for part in parts]
    shots, fps = shots_of(lengths), options.fps or FPS
    places = [(part, i) for part, length in zip(parts, lengths, strict=True) for i in range(length)]
    seen = [[part.calibration(view) for view in views] for part in parts]
    reading = _reading(parts, views)
    poses = np.array([[RT for _, RT in row] for row in seen])
    sounds = _sounds(parts, options)

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        part, frame = places[index]
        return part.picture(view, frame)

    return ImportedClip(
        name=options.name or (parts[0].name if len(parts) == 1 else parts[0].name.split("_")[0]),
        fps=fps,
        frames=len(places),
        picture=picture,
        sound=joined_sound([np.zeros(0, np.float32) if s is None else s for s in sounds], shots, fps),
        viewmats=over_shots(np.linalg.inv(poses) if reading.name == READINGS[0] else poses, lengths),
        Ks=over_shots(np.array([[K for K, _ in row] for row in seen]), lengths),
        split=sentence_split(options, shots, [part.name for part in parts]),
        views=views,
        test_views=held_out_views(options, views),
        parameters=_flame(parts, lengths),
        shots=shots,
        tables=_emotions(parts, lengths),
        warnings=_guessed(parts, views),
        provenance={
            "format": "renderme360",
            "source": str(options.path),
            "performances": [part.name for part in parts],
            "RT": reading.name,
            "reprojection_px": None if np.isnan(reading.error_px) else reading.error_px,
            "sound": "none: silence" if sounds[0] is None else "own" if options.audio is None else str(options.audio),
            "facts": parts[0].facts,
        },
    )


def _views(parts: list[Source], first: str) -> list[str]:
    """The first view, and the cameras that have as many pictures of every performance as it has."""
    frames = [part.frames() for part in parts]
    common = sorted(set.intersection(*(set(known) for known in frames)))
    if first not in common:
        raise UserError("camera", first, f"one of {', '.join(common) or 'none'}", "correct it")
    whole = [camera for camera in common if all(known[camera] == known[first] for known in frames)]
    return [first, *(camera for camera in whole if camera != first)]


def _emotions(parts: list[Source], lengths: list[int]) -> dict[str, Table]:
    """A column for each expression performed, by its number in the dataset; e0 is neutral. Speech is not labelled."""
    shown = [_expression(part) for part in parts]
    names = sorted({expression for expression in shown if expression is not None})
    if not names:
        return {}
    rows = np.array([[float(name == expression) for name in names] for expression in shown], np.float32)
    return {"emotion": Table(names, np.repeat(rows, lengths, axis=0))}


def _expression(part: Source) -> str | None:
    found = EXPRESSION.search(part.name)
    if found is None:
        return None
    return "neutral" if found[1] == "e0" else found[1]


def _guessed(parts: list[Source], views: list[str]) -> list[str]:
    """What was left out, and what is not known."""
    told = []
    for part in parts:
        if others := sorted(part.frames().keys() - views):
            told.append(f"{part.name}: cameras {', '.join(others)} left out: not as many frames of all performances")
    named = sorted({expression for part in parts if (expression := _expression(part)) not in (None, "neutral")})
    if named:
        told.append(f"expressions {', '.join(named)}: not named by the dataset; they are called by their numbers")
    return told


def _sounds(parts: list[Source], options: Options) -> list[Float[ndarray, "..."] | None]:
    if options.audio is None:
        return [part.sound() for part in parts]
    if len(parts) > 1:
        raise UserError("audio", f"one sound for {len(parts)} performances", "one performance", "give sequence=<part>")
    return [read_sound(options.audio, RATE)]


def _flame(parts: list[Source], lengths: list[int]) -> dict[Model, dict[str, ndarray]]:
    """Where every frame of every performance has it."""
    rows = []
    for part, length in zip(parts, lengths, strict=True):
        if (known := part.flame(length)) is None:
            return {}
        rows += known
    return {"flame": flame_table(rows, [f"frame {i}: FLAME" for i in range(len(rows))])}


def _reading(parts: list[Source], views: list[str]) -> Reading:
    """RT in the sense in which the 3D keypoints project onto the 2D ones, where both are there."""
    for part, view in ((part, view) for part in parts for view in views):
        K, RT = part.calibration(view)
        readings = dict(zip(READINGS, (np.linalg.inv(RT), RT), strict=True))
        for index in range(min(LANDMARK_FRAMES, part.frames()[view])):
            pair = part.landmarks(view, index)
            if pair is not None and len(pair[0]) == len(pair[1]):
                seen = np.concatenate([pair[1][:, :2], np.ones((len(pair[1]), 1))], 1)
                return choose_reading(readings, K, pair[0][None, :, :3], seen[None], "Calibration")
    return Reading(READINGS[0], np.eye(4), np.nan, np.nan)


def open_performances(path: Path, sequence: str | None) -> list[Source]:
    """Containers, or unfolded folders: the one that is given, or those of one person that lie in it.

    Raises:
        UserError: h5py is missing, there is none, or they are of several people.
    """
    if (path / "calib.json").is_file():
        return [Unfolded(path)]
    unfolded = sorted(file.parent for file in path.glob("*/calib.json")) if path.is_dir() else []
    if wanted := sequence.split(",") if sequence else []:
        unfolded = [folder for folder in unfolded if folder.name.split("_")[0] in wanted]
    return [Unfolded(folder) for folder in unfolded] or [Smc.open(*pair) for pair in find_pairs(path, wanted)]


@dataclass
class Smc:
    """A pair of containers: pictures and sound in `raw`, calibration, masks and fits in `anno`."""

    raw: Any
    anno: Any
    name: str
    facts: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def open(*pair: Path) -> Smc:
        """Of the raw and the anno container."""
        try:
            import h5py
        except ImportError as error:
            raise UserError(
                "path", "h5py not installed", "h5py to read SMC files", "pip install talkingavatar[renderme]"
            ) from error
        opened = []
        for file in pair:
            try:
                opened.append(h5py.File(file, "r"))
            except OSError as error:
                raise UserError(str(file), f"not readable ({error})", "an SMC container", "get it again") from error
        raw, anno = opened
        facts = {key: _plain(value) for key, value in raw.attrs.items()}
        lenses = {camera: entry["D"] for camera, entry in anno["Calibration"].items() if "D" in entry}
        facts["distortion, not corrected"] = {camera: np.ravel(D[()]).tolist() for camera, D in lenses.items()}
        return Smc(raw, anno, pair[0].name.removesuffix("_raw.smc"), facts)

    def frames(self) -> dict[str, int]:
        cameras = self.raw["Camera"]
        return {c: len(cameras[c]["color"]) for c in cameras if "color" in cameras[c] and c in self.anno["Calibration"]}

    def picture(self, camera: str, index: int) -> tuple[Picture, Coverage]:
        image = _decode(self.raw["Camera"][camera]["color"][str(index)][()])
        masks = self.anno["Camera"][camera] if camera in self.anno.get("Camera", {}) else {}
        if "mask" not in masks:
            return image, np.full(image.shape[:2], 255, np.uint8)
        return image, _decode(masks["mask"][str(index)][()]).max(2)

    def calibration(self, camera: str) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
        entry = self.anno["Calibration"][camera]
        return np.array(entry["K"][()], np.float64), np.array(entry["RT"][()], np.float64)

    def sound(self) -> Float[ndarray, " N"] | None:
        entry = self.raw["Camera"].get("00", {})
        if "audio" not in entry:
            return None
        samples = np.asarray(entry["audio"]["audio"][()])
        rate = int(np.ravel(entry["audio"]["sample_rate"][()])[0])
        if samples.dtype.kind == "f" and np.abs(samples).max(initial=0) > 2:  # 16-bit values kept as floats
            samples = samples / 32768
        return resample(to_mono(as_float(np.atleast_2d(samples.T))), rate)

    def landmarks(self, camera: str, index: int) -> tuple[ndarray, ndarray] | None:
        flat, solid = self.anno.get("Keypoints2d", {}), self.anno.get("Keypoints3d", {})
        if camera not in flat or str(index) not in solid:
            return None
        rows = flat[camera]  # a group by frame, or one array
        if hasattr(rows, "keys") and str(index) not in rows:
            return None
        return np.asarray(solid[str(index)][()]), np.asarray(rows[str(index)] if hasattr(rows, "keys") else rows[index])

    def flame(self, frames: int) -> list[dict[str, ndarray]] | None:
        """Of expression parts only, and only where every frame has it."""
        group = self.anno.get("FLAME", {})
        if any(str(i) not in group for i in range(frames)):
            return None
        skipped = ("verts", "albedos")
        return [{k: v[()] for k, v in group[str(i)].items() if k not in skipped} for i in range(frames)]


class Unfolded:
    """`images/`, `masks/`, `lmks_2d/`, `lmks_3d/` with <frame:05>_<camera:02>, `audios/`, and calib.json."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        stated = Stated(str(root / "calib.json"), read_json(root / "calib.json", COMPLETE), COMPLETE)
        self.rows: dict[str, list[Stated]] = {}
        for row in stated.of("frames").entries():
            self.rows.setdefault(f"{row.of('camera_index').whole(0, 10_000):02d}", []).append(row)
        self.facts: dict[str, Any] = {key: value for key, value in stated.value.items() if key != "frames"}

    @cached_property
    def mask_values(self) -> Values:
        """How the masks are meant."""
        return survey_files(sorted((self.root / "masks").glob("[!.]*.png")), f"{self.root}: masks", COMPLETE)

    def frames(self) -> dict[str, int]:
        counts = {
            camera: sum(self._file("images", camera, step, "png").is_file() for step in _steps(rows))
            for camera, rows in self.rows.items()
        }
        return {camera: count for camera, count in counts.items() if count}

    def picture(self, camera: str, index: int) -> tuple[Picture, Coverage]:
        image = read_picture(self._file("images", camera, index, "png"))
        mask = self._file("masks", camera, index, "png")
        if not mask.is_file():
            return image, np.full(image.shape[:2], 255, np.uint8)
        return image, read_matte(mask, self.mask_values, COMPLETE)

    def calibration(self, camera: str) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
        row = self.rows[camera][0]
        fx, fy = (row.of(key).number(1e-3, 1e7) for key in ("fx", "fy"))
        return pinhole(fx, fy, row.of("cx").number(), row.of("cy").number()), rigid(row.of("transform_matrix"))

    def sound(self) -> Float[ndarray, " N"] | None:
        files = sorted((self.root / "audios").glob("*.wav")) + sorted((self.root / "audios").glob("*.mp3"))
        return read_sound(files[0], RATE, str(files[0])) if files else None

    def landmarks(self, camera: str, index: int) -> tuple[ndarray, ndarray] | None:
        files = [self._file(folder, camera, index, "npy") for folder in ("lmks_3d", "lmks_2d")]
        if not all(file.is_file() for file in files):
            return None
        solid, flat = (read_npy(file, COMPLETE) for file in files)
        check_array(str(files[0]), solid, ("N", 3), COMPLETE)
        check_array(str(files[1]), flat, ("N", 3 if flat.shape[-1:] == (3,) else 2), COMPLETE)
        return solid, flat

    def flame(self, frames: int) -> list[dict[str, ndarray]] | None:
        """The tool does not unfold it."""
        return None

    def _file(self, folder: str, camera: str, index: int, suffix: str) -> Path:
        return self.root / folder / f"{index:05d}_{camera}.{suffix}"


def _steps(rows: list[Stated]) -> set[int]:
    return {row.of("timestep_index").whole(0) for row in rows}


def find_pairs(path: Path, wanted: list[str]) -> list[tuple[Path, Path]]:
    """The raw and the anno containers: of the one that is given, or in a folder (or its raw/ and anno/) of those parts
    that are wanted, else of all speech; they become shots of one capture.

    Raises:
        UserError: there is none, or they are of several people.
    """
    folder = path if path.is_dir() else path.parent
    pattern = "*_raw.smc" if path.is_dir() else re.sub(r"_(raw|anno)\.smc$", "_raw.smc", path.name)
    places = [folder, *(parent / kind for parent in (folder, folder.parent) for kind in ("raw", "anno"))]
    places += [folder.parent.parent / kind / folder.name for kind in ("raw", "anno")]
    found = sorted({file for place in places for file in place.glob(pattern)}, key=lambda f: (len(f.name), f.name))
    raws = found
    if wanted:
        raws = [file for file in found if any(file.name.endswith(f"_{part}_raw.smc") for part in wanted)]
    elif len(found) > 1:
        raws = [file for file in found if SPEECH.search(file.name)]
    if len({file.name.split("_")[0] for file in raws}) != 1:
        there = ", ".join(file.name for file in found) or "no *_raw.smc"
        expected = "speech of one person"
        raise UserError("path", f"{path}: {there}", expected, "give one container, or sequence=<part>,<part>")
    return [(raw, _anno(raw, places)) for raw in raws]


def _anno(raw: Path, places: list[Path]) -> Path:
    name = raw.name.replace("_raw.smc", "_anno.smc")
    anno = next((place / name for place in places if (place / name).is_file()), None)
    if anno is None:
        raise UserError("path", f"{raw} without {name}", "both containers", "put it beside the other")
    return anno


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
