"""From a capture to batches."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import lightning as L
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import attention_windows, silence_features
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Capture, Manifest, Model
from talkingavatar.data.face_balance import shares_by_face
from talkingavatar.data.inputs import Rest, change, read_tables, withheld
from talkingavatar.data.resident import Bytes, ResidentPictures, picture_bytes
from talkingavatar.data.sampler import StepLoader, background_of_step, frames_of_step
from talkingavatar.errors import UserError
from talkingavatar.types import Batch, DrivingSignal, pinned

JAW = {"smplx": 22, "flame": 2}  # in the smplx package's joint orders
FEWEST = 8  # training frames, however short the fit
UNSAID = ("expression", "latent", "actions", "emotion")  # of a frame whose face is posed anew


def thinned(frames: list[int], most: int) -> list[int]:
    """Every n-th of the frames, so that at most `most` are left.

    A short fit learns more of few frames: what is learned about a frame (its pose, its exposure) needs visits.
    """
    return frames[:: -(-len(frames) // most)]


def trained_views(manifest: Manifest, named: Sequence[str]) -> list[str]:
    """The cameras that steps take turns with: those named ("all" is all), else the first.

    Raises:
        UserError: there is no such view, or it is held out.
    """
    there = [view for view in manifest.views if view not in manifest.test_views]
    if list(named) == ["all"] and "all" not in there:
        return there
    if unknown := [view for view in named if view not in there]:
        raise UserError("data.views", ", ".join(unknown), f"some of {', '.join(there)}",
                        "correct it; more cameras record the embedded speaker with data.cameras=3")  # fmt: skip
    return list(named) or there[:1]


class CaptureData(L.LightningDataModule):
    """Serves one capture to any method: a training loader keyed by seed and step, and any frame on request."""

    def __init__(self, capture: Capture, config: FitConfig) -> None:
        super().__init__()
        self.capture, self.config = capture, config
        audio = config.audio
        self.features = capture.features(audio.name, audio.path, audio.output)
        self.windows = attention_windows(self.features, capture.manifest.shots)
        self.tables = read_tables(capture)
        self.model: Model = "flame" if "flame" in config.body.name else "smplx"
        self.background = torch.tensor(config.renderer.background)
        self.resident: ResidentPictures | None = None  # of a run on a GPU
        seen = config.budget.steps * config.budget.frames_per_step
        self.views = trained_views(capture.manifest, config.data.views)
        self.train_frames = thinned(capture.train_frames, max(FEWEST, seen // config.budget.visits))
        self.shares = self._shares()

    def signal(self, frames: list[int], silence: Sequence[str] = ()) -> DrivingSignal:
        """What drives these frames: tracked pose and sound, less the run's silenced inputs and those of `silence`."""
        tables = {name: values[frames] for name, values in self.tables.items()}
        pose = self.capture.pose(frames, self.model)
        signal = DrivingSignal(torch.tensor(frames), pose, self.windows[frames], **tables)
        without = {*self.config.method.silence, *silence}
        return withheld(signal, sorted(without), Rest(self.quiet, JAW[self.model])) if without else signal

    def unsaid(self, frame: int) -> DrivingSignal:
        """A frame's pose with nothing on its face and no sound in particular, as of a frame that nobody filmed.

        A method that hears learned to with sound in every frame: without any it is not the avatar that was fitted, and
        to silence it shuts its mouth, whatever the pose.
        """
        signal = self.signal([frame], UNSAID)
        audio = signal.audio if "audio" in self.config.method.silence else self.usual.expand_as(self.windows[[frame]])
        return replace(signal, frame=torch.tensor([-1]), audio=audio)

    def _shares(self) -> Float[ndarray, " F"] | None:
        """Of the draws, that each training frame gets."""
        if not self.config.data.balance:
            return None
        pose = self.capture.pose(self.train_frames, self.model)
        jaw = pose.full_pose[:, JAW[self.model]]
        return shares_by_face(torch.cat([pose.expression, 3 * jaw], 1).double().numpy(), self.config.data.balance)

    @cached_property
    def quiet(self) -> Float[Tensor, "16 C"]:
        """The window of silence."""
        audio, fps = self.config.audio, self.capture.manifest.fps
        return torch.from_numpy(
            silence_features(fps, self.capture.manifest.frames, audio.name, audio.path, audio.output)
        )[0]

    @cached_property
    def usual(self) -> Float[Tensor, "16 C"]:
        """The mean window of training frames."""
        return self.features[self.train_frames].mean(0)

    def batch(self, frames: list[int], background: Float[Tensor, " 3"] | None = None, view: str | None = None) -> Batch:
        """These frames with their pictures by a view (None: the first), on the configured background or another."""
        background = self.background if background is None else background
        stored = picture_bytes(
            self.capture, view or self.capture.manifest.views[0], frames, self.config.data.confidence
        )
        return self._composited(frames, stored, background, view)

    def _composited(self, frames: list[int], stored: Bytes, background: Float[Tensor, " 3"], view: str | None) -> Batch:
        """A batch of stored pictures, which stay on their device, on another background than the capture's."""
        image, matte = stored.image.float() / 255, stored.matte.float()[..., None] / 255
        weight = None if stored.confidence is None else stored.confidence[..., None]
        shift = background - torch.tensor(self.capture.manifest.background)
        if shift.any():
            shift = pinned(shift) if image.device.type == "cuda" else shift
            image = image + (1 - matte) * shift.to(image.device, non_blocking=True)
        view = view or self.capture.manifest.views[0]
        cameras = self.capture.cameras(frames, view)
        return Batch(self.signal(frames), cameras, image, matte, background, weight=weight, view=view)

    def motion(self, frame: int) -> DrivingSignal:
        """Change of the inputs per frame (B = 1), between the frame's neighbours of the same shot."""
        start, stop = next(shot for shot in self.capture.manifest.shots if shot[0] <= frame < shot[1])
        before, after = max(frame - 1, start), min(frame + 1, stop - 1)
        return change(self.signal([before]), self.signal([after]), max(after - before, 1))

    def train_dataloader(self) -> StepLoader[Batch]:
        """The frames of each step; processes that share them take turns."""
        rank, world = 0, 1
        if (trainer := self.trainer) is not None:
            rank, world = trainer.global_rank, trainer.world_size
            self.keep_on(trainer.strategy.root_device)
        steps, on_gpu = self.config.budget.steps, self.resident is not None
        return StepLoader(lambda step: self.batch_of_step(step, rank, world), steps, pin=on_gpu)

    def keep_on(self, device: torch.device) -> None:
        """Let training pictures stay on a GPU from now on."""
        if device.type == "cuda" and (self.resident is None or self.resident.device != device):
            config = self.config.data
            self.resident = ResidentPictures(self.capture, device, config.cache_mb, config.confidence)

    def training_batch(
        self, frames: list[int], background: Float[Tensor, " 3"] | None = None, view: str | None = None
    ) -> Batch:
        """As `batch`; pictures that stay on a GPU are taken there."""
        if self.resident is None:
            return self.batch(frames, background, view)
        background = self.background if background is None else background
        return self._composited(frames, self.resident(view or self.capture.manifest.views[0], frames), background, view)

    def batch_of_step(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The share of process `rank` of `world` in the frames of a step."""
        config, seed = self.config, self.config.seed
        frames = frames_of_step(self.train_frames, seed, step, config.budget.frames_per_step, self.shares)[rank::world]
        background = background_of_step(seed, step) if config.data.random_background else None
        batch = self.training_batch(frames, background, self.views[step % len(self.views)])
        if not config.data.shutter:
            return batch
        return replace(batch, motion=DrivingSignal.cat([self.motion(frame) for frame in frames]))
