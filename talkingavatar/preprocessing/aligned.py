"""An alignment on disk."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from talkingavatar.preprocessing.alignment.align import Alignment
from talkingavatar.preprocessing.alignment.distances import Distances
from talkingavatar.types import BodyPose


def save_alignment(alignment: Alignment, file: Path) -> None:
    """Tensors and numbers only."""
    content: dict[str, Any] = {f.name: getattr(alignment, f.name) for f in fields(Alignment)}
    pose = alignment.pose
    content["pose"] = {f.name: getattr(pose, f.name) for f in fields(BodyPose)}
    content["distances"] = {stage: asdict(found) for stage, found in alignment.distances.items()}
    torch.save(content, file)


def load_alignment(file: Path) -> Alignment:
    """What `save_alignment` wrote."""
    content = torch.load(file, weights_only=True)
    content["pose"] = BodyPose(**content["pose"])
    content["distances"] = {stage: Distances(**found) for stage, found in content["distances"].items()}
    return Alignment(**content)
