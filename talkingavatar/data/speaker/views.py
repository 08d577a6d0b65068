"""True pictures of the embedded speaker from the side, where no camera of the capture ever stood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import Capture
from talkingavatar.data.speaker.scene import SpeakerScene
from talkingavatar.runtime.threads import in_order
from talkingavatar.types import Cameras


@dataclass(frozen=True)
class SideView:
    """One true picture on white with its matte."""

    frame: int
    cameras: Cameras
    image: UInt8[ndarray, "H W 3"]
    matte: UInt8[ndarray, "H W"]


def side_views(
    config: DataConfig, capture: Capture, frames: list[int], degrees: float, tick: Callable[[], None]
) -> list[SideView]:
    """The speaker's true pose seen from `degrees` to their left; drawn once and kept in the capture's `truth/`."""
    folder = capture.folder / "truth" / "views" / f"{degrees:g}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {f: [folder / f"{f:06d}_{kind}.png" for kind in ("image", "matte")] for f in frames}
    missing = [frame for frame in frames if not all(file.is_file() for file in files[frame])]
    scene = SpeakerScene(config.identity, config.size, config.size, config.framing) if missing else None
    cameras = _cameras(folder, scene, config, degrees)

    def seen(frame: int) -> SideView:
        if scene is not None and frame in missing:
            _draw(scene, capture, frame, degrees, files[frame])
        image, matte = (np.array(Image.open(file)) for file in files[frame])
        return SideView(frame, cameras, image, matte)

    views = []
    for view in in_order(seen, frames):
        views.append(view)
        tick()
    return views


def _draw(scene: SpeakerScene, capture: Capture, frame: int, degrees: float, files: list[Path]) -> None:
    pose = capture.true_pose([frame])
    assert pose is not None, "the embedded speaker's true pose is known"
    camera = scene.side_camera(degrees)
    drawn = scene.render(pose.full_pose[0].numpy(), pose.transl[0].numpy(), pose.expression[0].numpy(), camera)
    for file, pixels in zip(files, drawn, strict=True):
        temporary = file.with_suffix(".tmp.png")
        Image.fromarray(pixels).save(temporary, compress_level=1)
        temporary.replace(file)


def _cameras(folder: Path, scene: SpeakerScene | None, config: DataConfig, degrees: float) -> Cameras:
    """The camera, kept beside its pictures: making the scene anew takes seconds."""
    file = folder / "camera.npz"
    if not file.is_file():
        scene = scene or SpeakerScene(config.identity, config.size, config.size, config.framing)
        K, viewmat = scene.side_camera(degrees)
        np.savez(file, K=K, viewmat=viewmat)
    with np.load(file) as kept:
        Ks, viewmats = (torch.from_numpy(kept[name]).float()[None] for name in ("K", "viewmat"))
    return Cameras(viewmats, Ks, config.size, config.size)
