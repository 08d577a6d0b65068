"""LivePortrait (arXiv 2407.03168) as a source of motion: implicit keypoints warp a volume of the portrait's features.

Its networks are found by path, never fetched. What it makes has been compared with the authors' own modules on random
weights of the published shapes; it has never been run with the published weights, which could not be had here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.data.portrait.face_crop import FaceCrop, face_crop
from talkingavatar.data.portrait.portrait import Portrait
from talkingavatar.data.portrait.source import Animated, MotionSource
from talkingavatar.data.portrait.speech_driver import Person, SpeechDriver
from talkingavatar.data.portrait.template import read_template
from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait import (
    PUBLISHED,
    AppearanceExtractor,
    Motion,
    MotionExtractor,
    SpadeGenerator,
    Stitching,
    WarpingModule,
    Widths,
    angles_of,
    rotation,
)
from talkingavatar.networks.live_portrait.files import STITCHING, LivePortraitFiles, complete
from talkingavatar.networks.mesh_code import POSE, MotionLatent
from talkingavatar.paths import user_path

MOST_TURN = {"pitch": 25.0, "yaw": 40.0, "roll": 30.0}  # degrees away from the portrait's own
LIPS = (6, 12, 14, 17, 19, 20)  # keypoints, whose place a driver from sound says as it is
UNSEEN = 0.2  # confidence in what the portrait hides


@dataclass(frozen=True)
class _Prepared:
    """What of a portrait is the same in every frame."""

    crop: FaceCrop
    picture: Float[Tensor, "3 H W"]
    matte: Float[Tensor, "1 H W"]
    cut_matte: Float[Tensor, "1 S S"]
    own: Motion
    points: Float[Tensor, "1 K 3"]
    volume: Float[Tensor, "1 C Z h w"]


@final
class LivePortrait(MotionSource):
    """`dyn` is 21 keypoints' expression; `pose` has x to the right and y down, in halves of the crop, as published."""

    name, licence = "LivePortrait", "MIT (github.com/KwaiVGI/LivePortrait), code and weights"

    def __init__(
        self,
        mesh: FaceMesh,
        files: LivePortraitFiles,
        driver: SpeechDriver | None = None,
        widths: Widths = PUBLISHED,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            mesh: of the body that portraits are fitted with; its landmarks say where the face is.
            driver: what motion is told from sound with.

        Raises:
            UserError: a file is missing, or is not what was published.
        """
        complete(files)
        self.mesh, self.files, self.driver, self.device = mesh, files, driver, device
        self.extractor: MotionExtractor = files.load("motion_extractor", widths).to(device)
        self.appearance: AppearanceExtractor = files.load("appearance_feature_extractor", widths).to(device)
        self.warping: WarpingModule = files.load("warping_module", widths).to(device)
        self.generator: SpadeGenerator = files.load("spade_generator", widths).to(device)
        self.stitching: Stitching = files.load(STITCHING, widths).to(device)
        self.picture = widths.picture
        self.dyn_dim, self.pose_dim = 3 * widths.keypoints, POSE
        self.mean, self.std = torch.zeros(self.dyn_dim), torch.ones(self.dyn_dim)  # no bank comes with it
        self.version = files.checksums()[files.paths["motion_extractor"].name][:12]
        self.marks = mesh.number[mesh.body.landmark_corners]

    def read(self, portraits: list[Portrait]) -> MotionLatent:
        crop = face_crop(torch.stack([self._marks(portrait) for portrait in portraits]).numpy())
        return self.read_pictures((portrait.picture for portrait in portraits), crop)

    @torch.no_grad()
    def read_pictures(self, pictures: Iterator[UInt8[ndarray, "H W 3"]], crop: FaceCrop) -> MotionLatent:
        """The motion of pictures in which the head lies about one square."""
        return _joined([_latent(self._motion(crop, _planes(picture, self.device))) for picture in pictures])

    def animate(self, portrait: Portrait, latents: MotionLatent) -> Iterator[Animated]:
        prepared = self._prepare(portrait)
        for dyn, pose in zip(*latents, strict=True):
            yield self._frame(prepared, dyn[None].to(self.device), pose[None].to(self.device))

    def adapted(self, portrait: Portrait, motion: MotionLatent, lips: bool = False) -> MotionLatent:
        """Another's motion as this person would do it: changes since its first frame, from the portrait's own.

        Args:
            lips: take the lips' keypoints as they are, as JoyVASA does.
        """
        own = self.read([portrait])
        dyn = own.dyn + motion.dyn - motion.dyn[:1]
        if lips:
            rows = torch.tensor([3 * point + axis for point in LIPS for axis in range(3)])
            dyn[:, rows] = motion.dyn[:, rows]
        turns = rotation(motion.pose[:, 1:4])
        angles = angles_of(turns @ turns[:1].mT @ rotation(own.pose[:, 1:4]))
        pose = own.pose + motion.pose - motion.pose[:1]
        pose[:, 1:4] = angles
        return MotionLatent(dyn, pose)

    def bank(self, name: str) -> MotionLatent:
        """A motion template: a file of LivePortrait's, as those in its `assets/examples/driving`."""
        return read_template(user_path(name), self.dyn_dim // 3)

    def from_audio(self, samples: Float[ndarray, " n"], fps: float, seed: int) -> MotionLatent:
        driver = self._driver(fps)
        if driver.personal:
            raise UserError("motion", f"speech for nobody, by {driver.name}", "a portrait, which it goes on from",
                            "say it by one (`spoken`)")  # fmt: skip
        return driver(samples, seed, Person({}, torch.zeros(68, 2)))

    def spoken(self, portrait: Portrait, samples: Float[ndarray, " n"], fps: float, seed: int) -> MotionLatent:
        """Motion of this person that goes with 16 kHz mono speech.

        Raises:
            UserError: the source has no driver, or one of another rate.
        """
        driver = self._driver(fps)
        if driver.personal:
            return driver(samples, seed, self._person(portrait))
        return self.adapted(portrait, self.from_audio(samples, fps, seed), lips=True)

    def _driver(self, fps: float) -> SpeechDriver:
        if self.driver is None:
            expected = "JoyVASA's or Ditto's files beside LivePortrait's"
            raise UserError("motion", "speech, and no driver from sound", expected, "see `doctor`")
        if fps != FPS:
            raise UserError("fps", f"{fps:g}", f"{FPS}, the driver's", "drive it at that rate")
        return self.driver

    @torch.no_grad()
    def _person(self, portrait: Portrait) -> Person:
        marks = self._marks(portrait)
        cut = face_crop(marks[None].numpy()).cut(_planes(portrait.picture, self.device), self.picture)
        told = self.extractor.detector(cut[None])
        return Person({name: values.cpu() for name, values in told.items()}, marks)

    def _marks(self, portrait: Portrait) -> Float[Tensor, "68 2"]:
        """Pixels."""
        points = self.mesh.body.at_landmarks(portrait.mesh[self.marks][None])[0]
        return torch.from_numpy(portrait.project(points)[:, :2])

    def _motion(self, crop: FaceCrop, picture: Float[Tensor, "3 H W"]) -> Motion:
        return self.extractor(crop.cut(picture, self.picture)[None])

    @torch.no_grad()
    def _prepare(self, portrait: Portrait) -> _Prepared:
        crop, picture = face_crop(self._marks(portrait)[None].numpy()), _planes(portrait.picture, self.device)
        matte = _planes(portrait.matte[..., None], self.device)
        own, cut = self._motion(crop, picture), crop.cut(picture, self.picture)[None]
        cut_matte = crop.cut(matte, self.picture)
        return _Prepared(crop, picture, matte, cut_matte, own, own.points(), self.appearance(cut))

    @torch.no_grad()
    def _frame(self, prepared: _Prepared, dyn: Float[Tensor, "1 D"], pose: Float[Tensor, "1 7"]) -> Animated:
        exp = dyn.unflatten(1, (-1, 3))
        motion = Motion(prepared.own.kp, exp, pose[:, :1].exp(), pose[:, 1:4], pose[:, 4:])
        driven = self.stitching(prepared.points, motion.points())
        warped = self.warping(prepared.volume, prepared.points, driven)
        made = self.generator(warped.features)[0]
        # The matte goes where the features go: coarse, and good enough to know the person from the wall.
        where = warped.origins[..., :2].mean(1)
        small = F.grid_sample(prepared.cut_matte[None], where, padding_mode="border", align_corners=False)
        matte, seen = (F.interpolate(plane, size=made.shape[1:], mode="bilinear")[0] for plane in (small, warped.seen))
        frame = prepared.crop.put_back(made, prepared.picture)
        shown = prepared.crop.put_back(UNSEEN + (1 - UNSEEN) * seen, torch.ones_like(prepared.matte))
        why = self._why_not(prepared.own, motion)
        pixels = [_bytes(image) for image in (frame, prepared.crop.put_back(matte, prepared.matte))]
        return Animated(pixels[0], pixels[1][..., 0], shown[0].cpu().numpy(), not why, why)

    def _why_not(self, own: Motion, motion: Motion) -> str:
        """Why a frame is not to be learned from; nothing where it may be."""
        turned = torch.rad2deg(angles_of(rotation(motion.angles) @ rotation(own.angles).mT))[0]
        for (name, most), angle in zip(MOST_TURN.items(), turned.tolist(), strict=True):
            if abs(angle) > most:
                return f"{name} {angle:.0f} degrees from the portrait's, at most {most:.0f}"
        return ""


def _latent(motion: Motion) -> MotionLatent:
    scale = motion.scale.clamp_min(1e-3).log()
    pose = torch.cat([scale, motion.angles, motion.t], 1)
    return MotionLatent(motion.exp.flatten(1).cpu(), pose.cpu())


def _joined(parts: list[MotionLatent]) -> MotionLatent:
    return MotionLatent(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))


def _planes(picture: UInt8[ndarray, "H W C"], device: torch.device | str) -> Float[Tensor, "C H W"]:
    """In [0, 1]."""
    return torch.from_numpy(picture).to(device).permute(2, 0, 1) / 255


def _bytes(picture: Float[Tensor, "C H W"]) -> UInt8[ndarray, "H W C"]:
    return (255 * picture.clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
