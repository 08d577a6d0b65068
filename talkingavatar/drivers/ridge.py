"""The closed-form mouth of a clip (`audio.mouth`): what an avatar speaks with that has no trained driver."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.audio.mouth import VERSION, MouthModel, away_from_cuts, fit_mouth
from talkingavatar.body.lips import opening_of
from talkingavatar.body.models import Body
from talkingavatar.data.motion_clips import Stretch
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.space import RigParameters
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.readers import healed
from talkingavatar.types import BodyPose

TARGETS = ("jaw", "mouth")


@final
class RidgeMouth(Driver):
    """One speaker's jaw and mouth from sound, fitted in a second. It hears how loud the whole sound is."""

    lookahead = math.inf

    def __init__(self, model: MouthModel, space: RigParameters, card: DriverCard) -> None:
        self.model, self.space, self.card = model, space, card

    @classmethod
    def fitted(
        cls,
        heard: Heard,
        pose: BodyPose,
        train: Sequence[Stretch],
        body: Body,
        speaker: str,
        folder: Path | None = None,
    ) -> RidgeMouth:
        """The mouth of a clip.

        Args:
            heard: the clip's sound.
            pose: as tracked, of all its frames.
            train: frames to learn from, those near a cut left out where there are enough without.
            folder: where the model is kept for the next time.
        """
        space, used = RigParameters(body, TARGETS), np.zeros(len(pose), dtype=bool)
        for start, stop in train:
            used[start:stop] = True
        away = used & away_from_cuts(list(heard.shots) or [(0, len(pose))], len(pose), heard.fps)
        used = away if away.sum() > heard.fps else used  # else a clip of nothing but cuts
        opening = np.zeros(len(pose))
        opening[used] = opening_of(body, pose[torch.from_numpy(used)])
        given = (heard.samples, heard.fps, space.parts.read(pose).numpy(), opening, used)
        model = fit_mouth(*given) if folder is None else _kept(given, space.names, folder)
        card = DriverCard(
            "ridge", {}, list(space.parts.parts), space.names, [speaker], "samples", "", heard.fps, body.name,
            body.checksum,
        )  # fmt: skip
        return cls(model, space, card)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return torch.from_numpy(self.model.std.astype(np.float32))

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        """The one motion that it foretells, `count` times."""
        values = self.model.predict(heard.samples, heard.fps, heard.frames)
        return torch.from_numpy(values.astype(np.float32)).expand(count, -1, -1)

    def report(self) -> dict[str, Any]:
        """Cross-validated correlation with sound, and stretch, of each parameter."""
        rows = zip(self.space.names, self.model.held_out_r.tolist(), self.model.gain.tolist(), strict=True)
        return {name: {"r": r, "gain": gain} for name, r, gain in rows}


def _kept(given: tuple[Any, ...], names: list[str], folder: Path) -> MouthModel:
    """The model of what `fit_mouth` is given; read where it was fitted before."""
    samples, fps, *arrays = given
    digest = hashlib.sha256(f"{VERSION} {fps} {names}".encode())
    for part in (samples, *arrays):
        digest.update(np.ascontiguousarray(part).tobytes())
    file = folder / f"mouth-{digest.hexdigest()[:12]}.npz"
    known = healed(lambda: MouthModel.load(file, len(names)), None, warn) if file.is_file() else None
    if known is not None:
        return known
    model = fit_mouth(*given)
    with contextlib.suppress(OSError):  # a run on a read-only disk is driven without keeping it
        model.save(file)
    return model
