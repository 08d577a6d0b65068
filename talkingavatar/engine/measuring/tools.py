"""The networks and detectors a measurement uses, each named with its checksum; what is absent says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from talkingavatar.errors import UserError
from talkingavatar.metrics.identity import FaceEmbedder, find_embedder
from talkingavatar.metrics.lipsync.syncnet import SyncNetScorer, find_syncnet
from talkingavatar.metrics.lpips import Lpips
from talkingavatar.networks.perceptual import find_backbone
from talkingavatar.preprocessing.landmarks.face_stream import DETECTOR, FaceStream


@dataclass
class Tools:
    """Built once for all runs. None of them is part of a method, so none is ever in a checkpoint."""

    lpips: dict[str, Lpips] = field(default_factory=dict)
    syncnet: SyncNetScorer | None = None
    embedder: FaceEmbedder | None = None
    landmarks: bool = False  # whether faces are detected
    used: dict[str, dict[str, Any]] = field(default_factory=dict)  # name to file, checksum, origin
    skipped: dict[str, str] = field(default_factory=dict)  # metric or group to the reason

    @staticmethod
    def find(
        lpips: list[str],
        weights: str | None,
        syncnet: str | None,
        landmarks: str,
        device: torch.device | str,
        announce: Callable[[str], None],
    ) -> Tools:
        """Look for everything.

        Args:
            lpips: backbones by name.
            weights: folder of backbone files; None looks in the usual places.
            syncnet: file or folder of SyncNet's weights; None looks in the usual places.
            landmarks: "mediapipe" or "none".

        Raises:
            UserError: a file is there but is not what its name says, or `syncnet` names none.
        """
        tools = Tools()
        for name in lpips:
            backbone = find_backbone(name, weights)
            if backbone.path is None:
                tools.skipped[f"lpips_{name}"] = backbone.why_skipped
                continue
            tools.lpips[name] = Lpips(backbone, device)
            tools.used[f"lpips_{name}"] = {"file": backbone.path.name, "sha256": backbone.checksum()}
        file = find_syncnet(syncnet)
        if file.path is not None:
            tools.syncnet = SyncNetScorer(file, device)
            tools.used["syncnet"] = file.provenance()
        elif syncnet is not None:
            raise UserError("syncnet", syncnet, "SyncNet's weights", "give the file or its folder")
        else:
            tools.skipped["sync"] = file.why_skipped
        tools._find_embedder()
        tools._find_landmarks(landmarks, announce)
        return tools

    def _find_embedder(self) -> None:
        file = find_embedder()
        if file.path is None:
            self.skipped["identity"] = file.why_skipped
            return
        self.embedder = FaceEmbedder(file)
        self.used["identity"] = {"file": file.path.name, "sha256": file.checksum()}

    def _find_landmarks(self, wanted: str, announce: Callable[[str], None]) -> None:
        why = "landmarks=none was asked for"
        if wanted != "none":
            try:
                FaceStream(224, 224, announce).close()
                self.landmarks = True
                self.used["landmarks"] = {"origin": DETECTOR}
                return
            except UserError as error:
                why = str(error)
        for name in ("lmd", "au", "acceleration_error", "jitter/landmarks_px", "jitter/mouth_px"):
            self.skipped[name] = why
