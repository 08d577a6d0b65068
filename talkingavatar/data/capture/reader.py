"""A capture on disk, read lazily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.capture.manifest import read_manifest
from talkingavatar.data.capture.pictures import Pictures
from talkingavatar.data.capture.tables import (
    PARAMETERS,
    Table,
    read_boxes,
    read_cameras,
    read_landmarks,
    read_parameters,
    read_table,
)
from talkingavatar.data.faces import Face
from talkingavatar.data.made_up import MadeUp, made_up
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import check_array, read_npy
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import whole
from talkingavatar.runtime.readers import Unreadable, healed
from talkingavatar.types import BodyPose, Cameras

Model = Literal["smplx", "flame"]
RATE = 16_000  # Hz, of the sound
JOINTS: dict[Model, int] = {"smplx": 55, "flame": 5}
OPEN: dict[Model, str] = {"smplx": "open", "flame": "open_flame"}  # bodies of these parameters that anybody has
TABLES = ("actions", "aus", "emotion", "motion")
REMAKE = "remove it: it is made anew"


class Capture:
    """A capture on disk, read lazily; pictures stay in memory up to a budget.

    Raises:
        UserError: on opening, whatever is missing, of the wrong length, not finite or not readable.
    """

    def __init__(self, folder: Path, cache_mb: int = 1024) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        frames = self.manifest.frames
        self._tracked: dict[str, dict[str, ndarray]] = {}
        self.made_up: dict[Model, MadeUp] = {}  # what `pose` makes up for
        self.audio = self._audio()
        self.pictures = Pictures(folder, self.manifest.width, self.manifest.height, cache_mb)
        self.viewmats, self.Ks = read_cameras(folder / "cameras.npz", len(self.manifest.views), frames)
        self.regions = read_boxes(folder / "regions.npz", frames)
        self._check_tables()
        self._check_pictures()

    @property
    def train_frames(self) -> list[int]:
        return self.manifest.usable(self.manifest.train)

    @property
    def test_frames(self) -> list[int]:
        return self.manifest.usable(self.manifest.test)

    def frame(self, index: int, view: str | None = None) -> UInt8[ndarray, "H W 3"]:
        """The picture by a view (None: the first), composited on the background."""
        return self.pictures.read(f"frames/{view or self.manifest.views[0]}", index, "RGB")

    def matte(self, index: int, view: str | None = None) -> UInt8[ndarray, "H W"]:
        return self.pictures.read(f"mattes/{view or self.manifest.views[0]}", index, "L")

    def confidence(self, index: int, view: str | None = None) -> Float[ndarray, "H W"] | None:
        """How far each pixel of a picture may be believed, [0, 1]; None where the capture, as any filmed one, has none.

        Raises:
            UserError: it is missing of this frame, or damaged.
        """
        kind = f"confidence/{view or self.manifest.views[0]}"
        if not (self.folder / kind).is_dir():
            return None
        return self.pictures.read(kind, index, "L").astype(np.float32) / 255

    def seen_by(self, view: str, frames: Sequence[int]) -> list[int]:
        """Those of the frames of which a view has a picture."""
        return [f for f in frames if (self.folder / "frames" / view / f"{f:06d}.png").is_file()]

    def view_pictures(
        self, view: str, frames: Sequence[int]
    ) -> Iterator[tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W"]]]:
        """Picture and matte of each of these frames by one of the views.

        Raises:
            UserError: this view has no picture of a frame.
        """
        for frame in frames:
            yield self.frame(frame, view), self.matte(frame, view)

    def imagined(self, frame: int, face: Face) -> tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W"]] | None:
        """Picture and matte of a frame, had the face been another; None where nobody knows what that looks like."""
        return None

    def background(self) -> UInt8[ndarray, "H W 3"] | None:
        """The scene of the first view without the person, where it is known."""
        if not (self.folder / "background.png").is_file():
            return None
        return self.pictures.read_file(self.folder / "background.png", "RGB")

    def cameras(self, indices: list[int], view: str | None = None) -> Cameras:
        """A view's camera (None: the first's) in each of these frames."""
        manifest = self.manifest
        number = manifest.views.index(view) if view else 0
        return Cameras(
            torch.from_numpy(self.viewmats[number, indices]).float(),
            torch.from_numpy(self.Ks[number, indices]).float(),
            manifest.width,
            manifest.height,
        )

    def pose(self, indices: list[int], model: Model = "smplx") -> BodyPose:
        """Tracked parameters of these frames, with what is `made_up` for."""
        pose = _body_pose(self._tables(model), indices)
        return self.made_up[model].apply(pose, indices) if model in self.made_up else pose

    def make_up(self, body: Body, model: Model, shapes: bool = True, faces: bool = True) -> None:
        """Let `pose` make up for what landmarks show that tracked shapes and faces lack, where both know them."""
        marks, every = self.landmarks(), list(range(self.manifest.frames))
        self.made_up.pop(model, None)
        if (shapes or faces) and marks is not None and body.landmark_faces is not None:
            seen = self.pose(every, model), torch.from_numpy(marks), self.cameras(every)
            self.made_up[model] = made_up(body, *seen, self.train_frames, shapes, faces)

    def keypoint_offsets(self, model: Model = "smplx") -> Float[Tensor, "137 3"] | None:
        """From the body's own keypoints to the detector's, metres in the rest pose (`body.keypoints`)."""
        offsets = self._tables(model).get("keypoint_offsets")
        return None if offsets is None else torch.from_numpy(offsets)

    def true_pose(self, indices: list[int], model: Model = "smplx") -> BodyPose | None:
        """True parameters, where they are known; for evaluation only."""
        file = self.folder / "truth" / f"{model}.npz"
        return _body_pose(self._parameters(file, model), indices) if file.is_file() else None

    def table(self, name: str, truth: bool = False) -> Table | None:
        """`<name>.npz`, one of `TABLES`; None where the capture has none. True values for evaluation only.

        Raises:
            UserError: it is damaged, of the wrong length or not finite.
        """
        file = self.folder / ("truth" if truth else ".") / f"{name}.npz"
        return read_table(file, self.manifest.frames) if file.is_file() else None

    def _check_tables(self) -> None:
        """All that may be asked for later is looked at now."""
        for model in self._tracked_models() or ["smplx"]:
            self._tables(model)
            self.true_pose([0], model)
        for truth in (False, True):
            self.landmarks(truth)
            for name in TABLES:
                self.table(name, truth)

    def _recorded_views(self) -> list[str]:
        """Views whose pictures are there for good."""
        return self.manifest.views

    def _check_pictures(self) -> None:
        """Headers of all pictures that may be trained on or compared with; a held-out view may lack some."""
        used, manifest = [*self.train_frames, *self.test_frames], self.manifest
        for view in self._recorded_views():
            held_out = view in manifest.test_views
            self.pictures.check(f"frames/{view}", used, all_there=not held_out)
            self.pictures.check(f"mattes/{view}", self.seen_by(view, used) if held_out else used)
            if (self.folder / "confidence" / view).is_dir():
                self.pictures.check(f"confidence/{view}", used)
        if (self.folder / "background.png").is_file():
            self.pictures.check_file(self.folder / "background.png")

    def _tracked_models(self) -> list[Model]:
        return [model for model in JOINTS if (self.folder / f"{model}.npz").is_file()]

    def _tables(self, model: Model) -> dict[str, ndarray]:
        if model not in self._tracked:
            there = self._tracked_models()
            if there and model not in there:
                found = f"a body of {model} parameters, where {self.folder} has those of {' and '.join(there)}"
                raise UserError("body", found, f"one of {there[0]} parameters", f"add body={OPEN[there[0]]}")
            self._tracked[model] = self._parameters(self.folder / f"{model}.npz", model)
        return self._tracked[model]

    def landmarks(self, truth: bool = False) -> Float[ndarray, "T 68 3"] | None:
        """2D landmarks with confidence."""
        file = self.folder / ("truth" if truth else ".") / "landmarks.npz"
        return read_landmarks(file, self.manifest.frames) if file.is_file() else None

    def features(self, kind: str, path: str | None = None, output: str = "logits") -> Float[Tensor, "T 16 C"]:
        """Audio windows, made on first use; kept in the capture where it may be written.

        Each shot hears itself only: beyond a cut is silence. Published windows ("deepspeech") are taken as they are.
        """
        from talkingavatar.audio.features import audio_features

        name = kind if kind != "wav2vec2" else f"{kind}-{output}"
        file = self.folder / "features" / f"{name}.npy"
        if path is None and file.exists():
            given = kind == "deepspeech"  # published windows, which nothing makes anew
            kept = self._windows(file) if given else healed(lambda: self._windows(file), None, warn)
            if kept is not None:
                return torch.from_numpy(kept.astype(np.float32))
        fps, whole = self.manifest.fps, [(0, self.manifest.frames)]
        parts = []
        for start, stop in whole if kind == "deepspeech" else self.manifest.shots:
            heard = self.audio[round(start / fps * RATE) : round(stop / fps * RATE)]
            parts.append(audio_features(heard, RATE, fps, stop - start, kind, path, output))
        windows = np.concatenate(parts).astype(np.float32)
        if path is None:
            _keep(file, windows)
        return torch.from_numpy(windows)

    def _windows(self, file: Path) -> Float[ndarray, "T 16 C"]:
        """
        Raises:
            Unreadable: the file is damaged, or of another capture.
        """
        windows = read_npy(file, REMAKE)
        try:
            check_array(str(file), windows, (self.manifest.frames, 16, "C"), REMAKE)
        except UserError as error:
            raise Unreadable(error.field, error.found, error.expected, error.action) from error
        return windows

    def _parameters(self, file: Path, model: Model) -> dict[str, ndarray]:
        return read_parameters(file, self.manifest.frames, JOINTS[model])

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


def _body_pose(table: dict[str, ndarray], indices: list[int]) -> BodyPose:
    rows = np.asarray(indices)
    betas = np.broadcast_to(table["betas"].reshape(1, -1), (len(rows), table["betas"].size))
    parts = {"betas": betas} | {key: table[key][rows] for key in PARAMETERS[1:]}
    return BodyPose(**{key: torch.from_numpy(np.array(value, np.float32)) for key, value in parts.items()})


def _keep(file: Path, values: ndarray) -> None:
    """Write a derived table; a capture on a read-only disk is used without."""
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        with whole(file) as temporary:
            np.save(temporary, values)
