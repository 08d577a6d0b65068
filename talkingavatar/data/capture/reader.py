"""A capture on disk, read lazily."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.capture.manifest import read_manifest, usable
from talkingavatar.data.capture.pictures import Pictures
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, Cameras

Model = Literal["smplx", "flame"]
RATE = 16_000  # Hz, of the sound
PARAMETERS = ("betas", "expression", "full_pose", "transl")
REGIONS = ("head", "mouth", "left_hand", "right_hand")


class Capture:
    """A capture on disk, read lazily; pictures stay in memory up to a budget.

    Raises:
        UserError: on opening, whatever is missing, of the wrong length, not finite or not readable.
    """

    def __init__(self, folder: Path, cache_mb: int = 1024) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self._tracked: dict[str, dict[str, ndarray]] = {}
        if (folder / "smplx.npz").is_file() or not (folder / "flame.npz").is_file():
            self._tables("smplx")
        self.audio = self._audio()
        self.pictures = Pictures(folder, self.manifest.width, self.manifest.height, cache_mb)
        cameras = self._table("cameras.npz", ("viewmats", "Ks"))
        frames = self.manifest.frames
        self.viewmats = np.broadcast_to(cameras["viewmats"], (frames, 4, 4))
        self.Ks = np.broadcast_to(cameras["Ks"], (frames, 3, 3))
        self.regions = self._table("regions.npz", REGIONS)

    @property
    def train_frames(self) -> list[int]:
        return usable(self.manifest, self.manifest.train)

    @property
    def test_frames(self) -> list[int]:
        return usable(self.manifest, self.manifest.test)

    def frame(self, index: int) -> UInt8[ndarray, "H W 3"]:
        """The picture, composited on the background."""
        return self.pictures.read("frames", index, "RGB")

    def matte(self, index: int) -> UInt8[ndarray, "H W"]:
        return self.pictures.read("mattes", index, "L")

    def background(self) -> UInt8[ndarray, "H W 3"] | None:
        """The scene without the person, where it is known."""
        if not (self.folder / "background.png").is_file():
            return None
        return self.pictures.read_file(self.folder / "background.png", "RGB")

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
