"""The embedded speaker's capture, which can draw what a camera beside the person would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from talkingavatar.body.models import load_body
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import Capture, CaptureWriter
from talkingavatar.data.faces import Face, with_face
from talkingavatar.data.speaker.scene import SpeakerScene
from talkingavatar.runtime.threads import in_order


class SpeakerCapture(Capture):
    """Its held-out views are true pictures from the side, drawn on first use and kept in the capture."""

    def __init__(self, folder: Path, config: DataConfig) -> None:
        super().__init__(folder, config.cache_mb)
        self.config = config

    def _recorded_views(self) -> list[str]:
        """Those that are held out may be drawn, by this process or another, while they are looked at."""
        return [view for view in self.manifest.views if view not in self.manifest.test_views]

    @cached_property
    def _scene(self) -> SpeakerScene:
        """Seconds of work."""
        config = self.config
        return SpeakerScene(config.identity, config.size, config.size, config.framing, config.cloth)

    def seen_by(self, view: str, frames: Sequence[int]) -> list[int]:
        return list(frames)

    def imagined(self, frame: int, face: Face) -> tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W"]]:
        pose, scene, body = self.true_pose([frame]), self._scene, load_body("open")
        assert pose is not None, "the embedded speaker's true pose is known"
        shown = with_face(pose, face, body.expression_names, body.joint_names)
        return scene.render(shown.full_pose[0].numpy(), shown.transl[0].numpy(), shown.expression[0].numpy())

    def view_pictures(
        self, view: str, frames: Sequence[int]
    ) -> Iterator[tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W"]]]:
        there = super().seen_by(view, frames)
        for _ in self._draw(view, [frame for frame in dict.fromkeys(frames) if frame not in there]):
            pass
        yield from super().view_pictures(view, frames)

    def _draw(self, view: str, frames: Sequence[int]) -> Iterator[None]:
        """The true pose seen by the camera of the view, frame after frame."""
        if not frames:
            return iter(())
        writer, scene = CaptureWriter(self.folder, (view,)), self._scene
        number = self.manifest.views.index(view)
        camera = self.Ks[number, 0], self.viewmats[number, 0]

        def draw(frame: int) -> None:
            pose = self.true_pose([frame])
            assert pose is not None, "the embedded speaker's true pose is known"
            true = (pose.full_pose[0].numpy(), pose.transl[0].numpy(), pose.expression[0].numpy())
            writer.picture(frame, *scene.render(*true, camera), view)

        return in_order(draw, frames)
