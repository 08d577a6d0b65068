"""Motion that is told from sound, and what it may be set against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.protocol import RIDGE, Condition
from talkingavatar.config.stages import of_kind
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.ridge import RidgeMouth
from talkingavatar.engine.driver import heard_of, ridge_of
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.types import BodyPose, DrivingSignal

STILL = 1e-6  # radians or coefficients: a standard deviation below which a parameter does not move


@dataclass(frozen=True)
class Foretold:
    """What drives the held-out frames, with what a driver makes of the sound in it."""

    signal: DrivingSignal  # T frames
    answers: Sequence[DrivingSignal] = ()  # all that were asked for, the signal first; none where it was asked for one
    parts: PoseParts | None = None  # of the pose, that are compared; None where something else is foretold
    scale: Float[Tensor, " P"] | None = None  # of their parameters
    moving: Bool[Tensor, " P"] | None = None  # what stays at its mean would look steady

    def share(self, tracked: BodyPose) -> float:
        """Of the expressions that move in the tracked motion, how many are not simply its own."""
        moves = tracked.expression.std(0) > STILL
        apart = (self.signal.pose.expression != tracked.expression).any(0)
        return float(apart[moves].float().mean()) if moves.any() else 0.0


@torch.no_grad()
def foretold_of_capture(avatar: FittedRun, body: Body, frames: list[int], condition: Condition) -> Foretold | None:
    """What a condition asks to be told from a capture's sound; None where it asks for nothing. `body` on the CPU.

    Raises:
        Unmeasurable: the run has no such driver.
    """
    if not condition.spoken:
        return None
    data = avatar.data
    heard, signal = heard_of(data, frames, condition.silence), data.signal(frames, condition.silence)
    if condition.driver == RIDGE:
        ridge = ridge_of(data, body, avatar.run.path)
        return _foretold(ridge, avatar.driver or ridge, signal, heard, Prompt(), condition)
    driver = _required(avatar.driver, of_kind(data.config, "driver"), condition)
    return _foretold(driver, driver, signal, heard, Prompt(), condition)


@torch.no_grad()
def foretold_of_clip(
    clip: MotionClip, driver: Driver, body: Body, frames: list[int], condition: Condition, stages: Sequence[str] = ()
) -> Foretold:
    """The same of speech and motion without pictures. `stages` are those of drivers.

    Raises:
        Unmeasurable: there is no such driver.
    """
    heard = Heard(clip.fps, clip.samples, clip.features, clip.shots, frames)
    signal = DrivingSignal(torch.tensor(frames), clip.pose[frames])
    prompt = Prompt(speaker=clip.name).only(driver.takes)
    if condition.driver == RIDGE:
        ridge = RidgeMouth.fitted(heard, clip.pose, clip.train, body, clip.name)
        return _foretold(ridge, driver, signal, heard, prompt, condition)
    return _foretold(_required(driver, stages, condition), driver, signal, heard, prompt, condition)


def _foretold(
    driver: Driver, own: Driver, signal: DrivingSignal, heard: Heard, prompt: Prompt, condition: Condition
) -> Foretold:
    """By a driver, in the parameters of the run's own, so that both can be compared."""
    if not driver.draws and (condition.samples > 1 or condition.seed):
        raise Unmeasurable(f"{driver.card.driver} gives one answer to a sound: it does not sample")
    mine = prompt.only(driver.takes)
    told = driver.foretell(signal, heard, mine, condition.seed)
    others = [driver.foretell(signal, heard, mine, condition.seed + k) for k in range(1, condition.samples)]
    answers, rig = [told, *others] if others else [], own.space.rig
    if rig is None:
        return Foretold(told, answers)
    usual = told if own is driver else own.foretell(signal, heard, prompt.only(own.takes))
    moving = rig.read(usual).std(0) > STILL
    return Foretold(told, answers, rig.parts, own.scale[: len(rig.names)], moving)


def _required(driver: Driver | None, stages: Sequence[str], condition: Condition) -> Driver:
    """The run's driver, which is that of its last stage, behind those before it."""
    if driver is None:
        raise Unmeasurable("the run has no driver that foretells motion from sound")
    if condition.driver and condition.driver not in stages[-1:]:
        raise Unmeasurable(f"driver {condition.driver}: the run's is {', '.join(stages[-1:]) or 'of no stage'}")
    return driver
