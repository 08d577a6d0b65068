"""The on-disk capture format: one person's recorded performance.

```
<capture>/
  capture.json         format, version, name, fps, width, height, frames, splits, body, provenance (see `Manifest`)
  frames/000000.png    8-bit RGB, the subject composited on `background`
  mattes/000000.png    8-bit coverage of the subject
  audio.flac           16 kHz mono, as long as the video
  cameras.npz          viewmats (1 or T,4,4) world to camera in OpenCV axes, Ks (1 or T,3,3) pixels
  smplx.npz            as tracked: betas (S), expression (T,E), full_pose (T,55,3), transl (T,3), expression_names;
                       keypoint_offsets (137,3), where known: from the body's keypoints to the detector's, at rest
  flame.npz            the same of FLAME's 5 joints; one of both is there, or both under one camera
  landmarks.npz        points (T,68,3): x, y in pixels, confidence
  regions.npz          boxes (T,4) in pixels, x0 y0 x1 y1, of head, mouth, left_hand, right_hand; NaN where unseen
  aus.npz              names, values (T,A): facial actions, where known
  features/<kind>.npy  audio windows (T,16,C) on the video clock, made on first use
  keypoints.npz        what was seen: `preprocessing.keypoints.Keypoints`, where the capture was made from a video
  background.png       the scene without the person, where it could be made
  truth/               the same files with true parameters, where they are known; read by evaluation only
```

Everything is on the video clock: row t of every table belongs to frame t, at t / fps seconds. A recording that was cut
has several shots; frames on both sides of a cut are not neighbours, and no audio window reaches across one.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, Cameras

Model = Literal["smplx", "flame"]
FORMAT, VERSION, RATE = "talkingavatar-capture", 1, 16_000
PARAMETERS = ("betas", "expression", "full_pose", "transl")
REGIONS = ("head", "mouth", "left_hand", "right_hand")


@dataclass(frozen=True)
class Manifest:
    """What `capture.json` says."""

    name: str
    fps: float
    width: int
    height: int
    frames: int
    train: tuple[int, int, int]  # start, stop, step of the frames trained on
    test: tuple[int, int, int]  # of the held-out frames
    # Checksums of the models that the tables "smplx" and "flame" were tracked with.
    body: dict[str, str] = field(default_factory=dict)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    provenance: dict[str, Any] = field(default_factory=dict)
    shots: list[tuple[int, int]] = field(default_factory=list)  # start, stop of each; one of all frames if not given
    unusable: list[int] = field(default_factory=list)  # frames left out of both parts: nobody, or nobody's face, seen
    format: str = FORMAT
    version: int = VERSION

    def __post_init__(self) -> None:
        if not self.shots:
            object.__setattr__(self, "shots", [(0, self.frames)])

    def write(self, folder: Path) -> None:
        (folder / "capture.json").write_text(json.dumps(asdict(self), indent=1))


def paper_split(frames: int, heldout: float, stride: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The paper's rule: every `stride`-th frame of the first part is trained on, the tail is held out.

    The end is exclusive, unlike in the published loader, where one frame lies in both parts.
    """
    start = max(1, min(frames - 1, round(frames * (1 - heldout))))
    return (0, start, stride), (start, frames, 1)


class Capture:
    """A capture on disk, read lazily; pictures stay in memory up to a budget.

    Raises:
        UserError: on opening, whatever is missing, of the wrong length, not finite or not readable.
    """

    def __init__(self, folder: Path, cache_mb: int = 1024) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder)
        self._tracked: dict[str, dict[str, ndarray]] = {}
        if (folder / "smplx.npz").is_file() or not (folder / "flame.npz").is_file():
            self._tables("smplx")
        self.audio = self._audio()
        self._cache: OrderedDict[tuple[str, int], ndarray] = OrderedDict()
        self._cache_bytes, self._cache_limit = 0, cache_mb << 20
        cameras = self._table("cameras.npz", ("viewmats", "Ks"))
        frames = self.manifest.frames
        self.viewmats = np.broadcast_to(cameras["viewmats"], (frames, 4, 4))
        self.Ks = np.broadcast_to(cameras["Ks"], (frames, 3, 3))
        self.regions = self._table("regions.npz", REGIONS)

    @property
    def train_frames(self) -> list[int]:
        return _usable(self.manifest, self.manifest.train)

    @property
    def test_frames(self) -> list[int]:
        return _usable(self.manifest, self.manifest.test)

    def frame(self, index: int) -> UInt8[ndarray, "H W 3"]:
        """The picture, composited on the background."""
        return self._picture("frames", index, "RGB")

    def matte(self, index: int) -> UInt8[ndarray, "H W"]:
        return self._picture("mattes", index, "L")

    def background(self) -> UInt8[ndarray, "H W 3"] | None:
        """The scene without the person, where it is known."""
        if not (self.folder / "background.png").is_file():
            return None
        return self._read_picture(self.folder / "background.png", "RGB")

    def cameras(self, indices: list[int]) -> Cameras:
        return Cameras(
            torch.from_numpy(self.viewmats[indices]).float(),
            torch.from_numpy(self.Ks[indices]).float(),
            self.manifest.width,
            self.manifest.height,
        )

    def pose(self, indices: list[int], model: Model = "smplx") -> BodyPose:
        """Tracked parameters of these frames."""
        return _body_pose(self._tables(model), indices)

    def keypoint_offsets(self, model: Model = "smplx") -> Float[Tensor, "137 3"] | None:
        """From the body's own keypoints to the detector's, metres in the rest pose (`body.keypoints`)."""
        offsets = self._tables(model).get("keypoint_offsets")
        return None if offsets is None else torch.from_numpy(offsets)

    def true_pose(self, indices: list[int], model: Model = "smplx") -> BodyPose | None:
        """True parameters, where they are known; for evaluation only."""
        file = self.folder / "truth" / f"{model}.npz"
        return _body_pose(self._parameters(file), indices) if file.is_file() else None

    def _tables(self, model: Model) -> dict[str, ndarray]:
        if model not in self._tracked:
            self._tracked[model] = self._parameters(self.folder / f"{model}.npz")
        return self._tracked[model]

    def landmarks(self, truth: bool = False) -> Float[ndarray, "T 68 3"] | None:
        """2D landmarks with confidence."""
        file = self.folder / ("truth" if truth else ".") / "landmarks.npz"
        return np.load(file)["points"] if file.is_file() else None

    def features(self, kind: str, path: str | None = None, output: str = "logits") -> Float[Tensor, "T 16 C"]:
        """Audio windows, made on first use; kept in the capture where it may be written.

        Each shot hears itself only: beyond a cut is silence. Published windows ("deepspeech") are taken as they are.
        """
        from talkingavatar.audio.features import audio_features

        name = kind if kind != "wav2vec2" else f"{kind}-{output}"
        file = self.folder / "features" / f"{name}.npy"
        if path is None and file.is_file():
            return torch.from_numpy(np.load(file))
        fps, whole = self.manifest.fps, [(0, self.manifest.frames)]
        parts = []
        for start, stop in whole if kind == "deepspeech" else self.manifest.shots:
            heard = self.audio[round(start / fps * RATE) : round(stop / fps * RATE)]
            parts.append(audio_features(heard, RATE, fps, stop - start, kind, path, output))
        windows = np.concatenate(parts).astype(np.float32)
        if path is None:
            _keep(file, windows)
        return torch.from_numpy(windows)

    def _picture(self, kind: str, index: int, mode: str) -> ndarray:
        if (kept := self._cache.get((kind, index))) is not None:
            self._cache.move_to_end((kind, index))
            return kept
        pixels = self._read_picture(self.folder / kind / f"{index:06d}.png", mode)
        self._remember((kind, index), pixels)
        return pixels

    def _read_picture(self, file: Path, mode: str) -> ndarray:
        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert(mode))
        except FileNotFoundError as error:
            raise UserError(str(file), "no such file", "a picture", "make the capture again") from error
        except (OSError, SyntaxError) as error:
            raise UserError(
                str(file), f"a truncated or foreign file ({error})", "a whole PNG", "make the capture again"
            ) from error
        size = (self.manifest.height, self.manifest.width)
        if pixels.shape[:2] != size:
            raise UserError(str(file), f"{pixels.shape[:2]}", f"{size} pixels", "make the capture again")
        return pixels

    def _remember(self, key: tuple[str, int], pixels: ndarray) -> None:
        self._cache[key] = pixels
        self._cache_bytes += pixels.nbytes
        while self._cache_bytes > self._cache_limit and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _table(self, name: str, keys: tuple[str, ...]) -> dict[str, ndarray]:
        return _read_npz(self.folder / name, keys)

    def _parameters(self, file: Path) -> dict[str, ndarray]:
        """SMPL-X parameters, every one finite and as long as the video."""
        table = _read_npz(file, (*PARAMETERS, "expression_names"))
        frames = self.manifest.frames
        for key in PARAMETERS:
            values = table[key]
            if key != "betas" and len(values) != frames:
                raise UserError(f"{file}:{key}", f"{len(values)} rows", f"{frames} frames", "track the video again")
            if not np.isfinite(values).all():
                row = np.argwhere(~np.isfinite(values))[0]
                raise UserError(
                    f"{file}:{key}",
                    f"NaN at {row.tolist()}",
                    "finite numbers",
                    "track that frame again or cut it out",
                )
        return table

    def _audio(self) -> Float[ndarray, " N"]:
        import soundfile

        file = self.folder / "audio.flac"
        try:
            samples, rate = soundfile.read(file, dtype="float32")
        except (OSError, RuntimeError) as error:
            raise UserError(str(file), str(error), "16 kHz mono sound", "make the capture again") from error
        if rate != RATE or samples.ndim != 1:
            raise UserError(str(file), f"{rate} Hz, {samples.ndim} channels", "16000 Hz mono", "resample it")
        seconds, video = len(samples) / rate, self.manifest.frames / self.manifest.fps
        if abs(seconds - video) > 2 / self.manifest.fps:
            raise UserError(
                str(file),
                f"{seconds:.2f} s of sound",
                f"{video:.2f} s, the video's length",
                "cut both to one length",
            )
        return samples


def _read_manifest(folder: Path) -> Manifest:
    file = folder / "capture.json"
    if not file.is_file():
        found = "no such folder" if not folder.is_dir() else "a folder without capture.json"
        raise UserError("data.path", f"{folder}: {found}", "a capture", "give a folder written by preprocess")
    try:
        content = json.loads(file.read_text())
        splits = {part: tuple(content[part]) for part in ("train", "test")}
        background = tuple(float(v) for v in content["background"])
        shots = [(int(start), int(stop)) for start, stop in content.get("shots", [])]
        fps = float(content["fps"])
        manifest = Manifest(**{**content, **splits, "fps": fps, "background": background, "shots": shots})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            str(file), f"{type(error).__name__}: {error}", "a capture's manifest", "make it again"
        ) from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        found = f"{manifest.format} version {manifest.version}"
        raise UserError(str(file), found, f"{FORMAT} version {VERSION}", "make the capture again")
    edges = [0, *(stop for _, stop in manifest.shots)]
    if edges[-1] != manifest.frames or manifest.shots != list(pairwise(edges)):
        found = f"{manifest.shots}"
        raise UserError(f"{file}:shots", found, f"shots that cover 0 to {manifest.frames}", "make the capture again")
    if not _usable(manifest, manifest.train) or not _usable(manifest, manifest.test):
        raise UserError(f"{file}:train, test", "an empty split", "frames in both parts", "give a longer clip")
    return manifest


def _usable(manifest: Manifest, part: tuple[int, int, int]) -> list[int]:
    left_out = set(manifest.unusable)
    return [frame for frame in range(*part) if frame not in left_out]


def _read_npz(file: Path, keys: tuple[str, ...]) -> dict[str, ndarray]:
    import zipfile

    try:
        with np.load(file) as archive:
            table = {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a table", "make the capture again") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(str(file), f"an unreadable file ({error})", "an npz", "make the capture again") from error
    if missing := [key for key in keys if key not in table]:
        raise UserError(str(file), f"no {', '.join(missing)}", ", ".join(keys), "make the capture again")
    return table


def _body_pose(table: dict[str, ndarray], indices: list[int]) -> BodyPose:
    rows = np.asarray(indices)
    betas = np.broadcast_to(table["betas"].reshape(1, -1), (len(rows), table["betas"].size))
    parts = {"betas": betas} | {key: table[key][rows] for key in PARAMETERS[1:]}
    return BodyPose(**{key: torch.from_numpy(np.array(value, np.float32)) for key, value in parts.items()})


def _keep(file: Path, values: ndarray) -> None:
    """Write a derived table; a capture on a read-only disk is used without."""
    import contextlib
    import tempfile

    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npy", delete=False) as temporary:
            np.save(temporary, values)
        Path(temporary.name).replace(file)
