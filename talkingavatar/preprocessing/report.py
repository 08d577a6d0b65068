"""What a preprocessing found, as numbers and as pictures to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture import Capture
from talkingavatar.preprocessing.alignment.overlay import overlay_frames
from talkingavatar.preprocessing.assemble import Parts
from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND
from talkingavatar.preprocessing.stages import seconds_of, write_json
from talkingavatar.preprocessing.sync import Offset

STAGES = ("ingest", "landmarks", "matte", "align", "overlay")
SHOWN = 5  # frames of the contact sheet
TALL = 480  # its pictures' greatest height, pixels


def report(parts: Parts, measured: Offset, work: Path) -> dict[str, Any]:
    """Plain values, for `report.json` and the table in the terminal.

    Mattes and alignment go on side by side: their seconds overlap.
    """
    clip, keypoints = parts.clip, parts.keypoints
    hands = {"left": LEFT_HAND, "right": RIGHT_HAND}
    return {
        "name": parts.name,
        "frames": clip.frames,
        "fps": clip.fps,
        "size": [clip.width, clip.height],
        "source": {name: clip.facts[name] for name in ("codec", "source_rate", "source_size", "source_seconds")},
        "shots": clip.shots,
        "cuts": clip.facts["cuts"],
        "sound": clip.has_sound,
        "offset": asdict(measured) | {"sure": measured.sure, "corrected_frames": parts.offset},
        "seen": {
            "face": float((keypoints.faces > 0).mean()),
            **{
                f"{side}_hand": float((keypoints.points[:, rows, 2] > 0).any(axis=1).mean())
                for side, rows in hands.items()
            },
        },
        "unusable": len(parts.split.unusable),
        "trained": len(parts.split.usable(parts.split.train)),
        "heldout": len(parts.split.usable(parts.split.test)),
        "clean_plate": (parts.matte / "background.png").is_file(),
        "landmark_distance_px": {stage: asdict(found) for stage, found in parts.alignment.distances.items()},
        "seconds": {stage: seconds_of(work / stage) for stage in STAGES},
    }


def write_report(parts: Parts, measured: Offset, folder: Path) -> dict[str, Any]:
    """`work/report.json` and `work/contact_sheet.png`; the report."""
    found = report(parts, measured, folder / "work")
    contact_sheet(parts, Capture(folder)).save(folder / "work" / "contact_sheet.png")
    write_json(folder / "work" / "report.json", found)
    return found


def contact_sheet(parts: Parts, capture: Capture) -> Image.Image:
    """Frames from start to end: as recorded, on white, under the fitted body with its keypoints."""
    chosen = np.linspace(0, parts.clip.frames - 1, SHOWN).round().astype(int).tolist()
    columns = []
    for index, overlay in zip(chosen, overlays(parts, chosen), strict=True):
        column = np.concatenate([parts.clip.frame(index), capture.frame(index), overlay])
        columns.append(column)
    sheet = Image.fromarray(np.concatenate(columns, axis=1))
    scale = min(1.0, 3 * TALL / sheet.height)
    return sheet.resize((round(sheet.width * scale), round(sheet.height * scale)), Image.Resampling.LANCZOS)


def overlays(parts: Parts, frames: list[int]) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """The fitted body over these frames."""
    found, seen = parts.alignment, parts.keypoints
    few = replace(found, pose=found.pose[frames], keypoints=found.keypoints[frames])
    return overlay_frames((parts.clip.frame(i) for i in frames), few, seen.frames(frames), parts.body)
