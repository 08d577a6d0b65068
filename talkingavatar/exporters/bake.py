"""A fitted avatar as a baked one: arrays that a browser, a page without a server or one compiled pass evaluates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import NAMES
from talkingavatar.body.lips import opening_lever
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.exporters.bake_errors import Errors, errors_of
from talkingavatar.exporters.bake_file import as_stored, baked_glb
from talkingavatar.exporters.static import settled, surfels
from talkingavatar.methods.baking import Baking
from talkingavatar.methods.skin_bound import AWAY, SkinBound
from talkingavatar.networks.baked import Moment, posed
from talkingavatar.types import DrivingSignal, Gaussians


@dataclass(frozen=True)
class Motion:
    """What a baked avatar does in T frames, float32."""

    quats: Float[ndarray, "T J 4"]
    transl: Float[ndarray, "T 3"]
    expression: Float[ndarray, "T E"]
    residual: Float[ndarray, "T R"]


@dataclass(frozen=True)
class BakedRun:
    """The avatar of a run, baked."""

    trained: FittedRun
    baking: Baking

    def moments(self, signal: DrivingSignal) -> Moment:
        """Of any frames: the capture's, driven ones, one live."""
        return self.baking.moments(signal.to(self.trained.method.device))

    def motion(self, signal: DrivingSignal) -> Motion:
        """The same as arrays."""
        return Motion(**{name: value.numpy(force=True) for name, value in vars(self.moments(signal)).items()})

    @cached_property
    def errors(self) -> Errors:
        """How far what lies in the file is from the method."""
        device = self.trained.method.device
        return errors_of(self.trained, replace(self.baking, avatar=as_stored(self.baking.avatar).to(device)))

    @cached_property
    def glb(self) -> bytes:
        """The file; others show the middle one of the held-out frames."""
        trained = self.trained
        held = trained.data.capture.test_frames
        with torch.no_grad():
            moment = self.moments(trained.data.signal([held[len(held) // 2]]))
            still = posed(self.baking.avatar, moment)
        flat = trained.data.config.renderer.mode == "2dgs"
        return self.showing(settled(surfels(still) if flat else still))

    def showing(self, still: Gaussians, errors: Errors | None = None) -> bytes:
        """The file with these, settled, for others to show."""
        told = None if errors is None else errors.facts()
        return baked_glb(self.baking.avatar, {**self.facts(), "errors": told}, still)

    def facts(self) -> dict[str, Any]:
        """What the manifest says beside what is read off the arrays."""
        trained = self.trained
        config, body = trained.data.config, trained.body
        return {
            "mode": config.renderer.mode,
            "family": config.method.name,
            "body": body.name,
            "fps": trained.data.capture.manifest.fps,
            "joints": list(body.joint_names),
            "expressions": list(body.expression_names),
            "units": list(NAMES) if config.method.name == "au_diffusion" else None,
            "away": AWAY,
            "behind": trained.method.behind if isinstance(trained.method, SkinBound) else 0.0,
            "lips": self._lips(),
            "provenance": {"run": trained.run.path.name, "checksum": body.checksum},
            "use": bound_to(body.name),
        }

    def _lips(self) -> dict[str, list[Any]] | None:
        """How far they stand apart (`opening_lever`), for who changes a face and not what it says."""
        data = self.trained.data
        lever = opening_lever(self.trained.body, data.capture.pose([0], data.model).betas[0])
        return None if lever is None else {"basis": lever[0].tolist(), "rest": lever[1].tolist()}


def bound_to(body: str) -> str:
    """By what the use of an avatar's file is bound, beside the rights of the person it shows."""
    if body.startswith("open"):
        return "the body's shapes are CC0"
    return f"places and shapes derive from {body}, whose licence holds for this file too"


def bake(trained: FittedRun) -> BakedRun:
    """
    Raises:
        UserError: the avatar has no such form.
    """
    data = trained.data
    return BakedRun(trained, trained.method.bake(data.signal(data.capture.train_frames)))
