"""The stages of an experiment, by name."""

from __future__ import annotations

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.stages.avatar import AvatarFit
from talkingavatar.engine.stages.driver import DriverFit
from talkingavatar.engine.stages.stage import Stage, trains_avatar
from talkingavatar.engine.stages.syncnet import SyncNetFit


def build_stage(stage: str, config: FitConfig, before: list[Stage]) -> Stage:
    """A stage of the experiment; a driver is shown the avatar fitted before it."""
    if stage == "method":
        return AvatarFit(config) if trains_avatar(config.method.name) else SyncNetFit(config)
    if not before:
        return DriverFit(config)
    avatar = before[0]
    assert isinstance(avatar, AvatarFit), "checked before"
    return DriverFit(config, avatar, avatar.mouth_loss)
