"""The stages of an experiment, by name."""

from __future__ import annotations

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.avatar_fit import AvatarFit
from talkingavatar.engine.driver_fit import DriverFit
from talkingavatar.engine.syncnet_fit import SyncNetFit
from talkingavatar.engine.trainable import Trainable, trains_avatar


def build_stage(stage: str, config: FitConfig, before: list[Trainable]) -> Trainable:
    """A stage of the experiment; a driver is shown the avatar fitted before it."""
    if stage == "method":
        return AvatarFit(config) if trains_avatar(config.method.name) else SyncNetFit(config)
    if not before:
        return DriverFit(config)
    avatar = before[0]
    assert isinstance(avatar, AvatarFit), "checked before"
    return DriverFit(config, avatar, avatar.mouth_loss)
