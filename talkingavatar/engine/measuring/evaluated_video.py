"""A video of a capture's held-out part that others rendered, measured as a run of ours is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.config.external import External
from talkingavatar.config.protocol import SHOWN, Condition, read_condition
from talkingavatar.config.schema import BodyConfig
from talkingavatar.data.capture import Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.build import build_body, build_capture, build_data
from talkingavatar.engine.measuring.compared_pictures import compared_pictures
from talkingavatar.engine.measuring.evaluated_run import EvaluatedRun, facts_of
from talkingavatar.engine.measuring.held_out import HeldOut, enough, some_held_out
from talkingavatar.engine.measuring.measure import NOT_ASKED, Findings, Networks, Options, Setting
from talkingavatar.engine.measuring.result_key import digest
from talkingavatar.engine.measuring.scoring import Measures, score_avatar, score_truth
from talkingavatar.engine.measuring.shown_video import EXPECTED, open_video
from talkingavatar.engine.measuring.truth_above_render import strip
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.engine.measuring.video_alignment import ALIKE, FARTHEST, align
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.run.provenance import provenance
from talkingavatar.errors import UserError
from talkingavatar.runtime.files import folder_for, sha256, write_atomically
from talkingavatar.types import Batch, DrivingSignal

NO_AVATAR = "a video from elsewhere has no avatar to turn, to time or to ask"
NO_MOTION = "a video from elsewhere does not tell the motion that drove it"
ONE_SHOWING = "a video from elsewhere shows one performance: nothing of it can be withheld or driven otherwise"


def folder_of_video(external: External, beside: BodyConfig | None) -> Path:
    """The folder that keeps a video's numbers, made or found; it is to `report` what a run directory is.

    Args:
        beside: the body of a run that is measured with it, by which it is cropped unless the user names another.

    Raises:
        UserError: the video, its capture or the folder is not to be had.
    """
    if not external.video.exists():
        raise UserError("video", f"{external.video}: no such file or folder", EXPECTED, "correct the path")
    if not external.body_given:
        body = beside or _tracked_with(build_capture(external.config))
        external = replace(external, config=replace(external.config, body=body))
    folder = folder_for(external.folder, "run", "set $TALKINGAVATAR_RUNS")
    write_atomically(folder / "config.yaml", external.text())
    write_atomically(folder / "provenance.json", json.dumps([provenance()], indent=1))
    write_atomically(folder / "status.json", json.dumps({"state": "finished", "time": time.time()}))
    return folder


def _tracked_with(capture: Capture) -> BodyConfig:
    """The open model whose parameters a capture has: the whole body's where it has both."""
    known = capture.manifest.body
    return BodyConfig(name="open_flame" if "flame" in known and "smplx" not in known else "open")


@dataclass(frozen=True)
class ShownFrames:
    """The video's pictures, one after the other, as `DrivenFrames` draws them."""

    data: CaptureData
    held: HeldOut
    pictures: Iterator[UInt8[ndarray, "H W 3"]]  # those that show a frame of `held`
    cut_out: bool  # by the capture's mattes
    foretold: None = None

    def draw(self, i: int) -> tuple[Float[Tensor, "H W 3"], Batch, DrivingSignal]:
        """The i-th picture, what it is compared with, and what the capture knows of it."""
        batch = compared_pictures(self.data, self.held.frames, Condition())(self.held.frames[i])
        image = torch.from_numpy(next(self.pictures).copy()).float() / 255
        if self.cut_out:
            image = image * batch.matte[0] + batch.background * (1 - batch.matte[0])
        return image, batch, replace(batch.signal, pose=self.held.pose[[i]])


class EvaluatedVideo(EvaluatedRun):
    """What needs no more than pictures and the capture's sound applies."""

    def __init__(self, folder: Path, external: External, most: int) -> None:
        """
        Raises:
            UserError: the video does not show the held-out part of its capture, or too few frames of it.
        """
        self.run, self.external, self.device, self.steps = RunDirectory(folder), external, torch.device("cpu"), 0
        self.body = build_body(external.config)
        capture = build_capture(external.config)
        background = list(capture.manifest.background)
        self.config = replace(external.config, renderer=replace(external.config.renderer, background=background))
        self.data = build_data(self.config, self.body)
        parts = held_out_parts(capture)
        self.video = open_video(external.video, external.fps, capture.manifest, [len(part) for part in parts])
        slots = self._slots(parts)
        self.alignment = align(self.video, capture, slots)
        picture_of = {frame: k + self.alignment.late for k, frame in enumerate(slots)}
        wanted = capture.test_frames[: most or None]
        shown = [frame for frame in wanted if 0 <= picture_of[frame] < self.video.count]
        enough(shown, f"{capture.folder} that {external.video} shows")
        self.places, self.missing = [picture_of[frame] for frame in shown], len(wanted) - len(shown)
        self.held = some_held_out(self.data, self.body, shown)

    def _slots(self, parts: list[list[int]]) -> list[int]:
        """The frames that the video's pictures stand for.

        Raises:
            UserError: there are too many or too few of them.
        """
        manifest, count = self.data.capture.manifest, self.video.count
        slots = min(parts, key=lambda part: abs(len(part) - count))
        if abs(len(slots) - count) > FARTHEST * manifest.fps:
            found = f"{self.video.path}: {count} pictures at {manifest.fps:g} a second"
            expected = f"about {len(slots)}, the held-out part of {self.data.capture.folder}"
            raise UserError("video", found, expected, "render or cut it to that part; fps= tells a folder's own rate")
        return slots

    def checkpoints(self, condition: Condition) -> list[Path]:
        return self.video.contents()

    def setting(self, networks: Networks, options: Options) -> Setting:
        absent = dict.fromkeys(("avatar", "plain"), NO_AVATAR) | dict.fromkeys(
            ("motion", "driving", "foretold"), NO_MOTION
        )
        absent |= {"samples": NOT_ASKED, "brief": NOT_ASKED, **options.not_asked}
        return Setting(self.held, networks, options, absent)

    def score(self, setting: Setting, measures: Measures, truth: Findings, name: str) -> Findings:
        if setting.condition != read_condition(SHOWN):
            raise Unmeasurable(ONE_SHOWING)
        first, chosen = self.places[0], set(self.places)
        pictures = (picture for k, picture in enumerate(self.video.pictures(first), first) if k in chosen)
        frames = ShownFrames(self.data, self.held, pictures, self.alignment.other_background)
        scored = score_avatar(setting, measures, truth, frames, name)
        if setting.folder is not None:
            strip(scored.pairs, self.config.experiment, setting.folder / f"{name}.png")
        return scored.findings

    def score_truth(self, setting: Setting, measures: Measures) -> Findings:
        return score_truth(replace(setting, absent=setting.options.not_asked), measures)

    def capture_facts(self) -> dict[str, Any]:
        return facts_of(self.data.capture.manifest, self.held)

    def facts(self) -> dict[str, Any]:
        """With how it was brought in line with the capture; no step or budget is known."""
        facts = super().facts()
        del facts["steps"], facts["budget"], facts["checkpoint"]
        video = {"file": str(self.video.path), "sha256": digest([sha256(file) for file in self.video.contents()])}
        return facts | {"external": video | asdict(self.alignment) | {"told": self.told()}}

    def told(self) -> list[str]:
        """What was done to the video, a phrase each."""
        alignment, told = self.alignment, list(self.video.told)
        if alignment.late:
            told.append(f"{abs(alignment.late)} frames {'late' if alignment.late > 0 else 'early'}, moved back")
        if alignment.alike <= ALIKE:
            told.append("it moves otherwise than the capture: taken from its first picture on")
        if self.missing:
            told.append(f"{self.missing} held-out frames are not shown")
        if alignment.other_background:
            told.append("another background, cut out by the capture's mattes")
        return told


def held_out_parts(capture: Capture) -> list[list[int]]:
    """Held-out frames that are usable, and all of them: a video may have pictures of either."""
    manifest = capture.manifest
    every = [frame for span in manifest.test for frame in span.frames]
    return [capture.test_frames] + ([every] if len(every) > len(capture.test_frames) else [])
