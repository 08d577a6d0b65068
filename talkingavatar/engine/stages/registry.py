"""The stages of an experiment, by kind."""

from __future__ import annotations

from talkingavatar.config.names import suggestion
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import seen_by
from talkingavatar.engine.stages.avatar import AvatarFit
from talkingavatar.engine.stages.driver import DriverFit
from talkingavatar.engine.stages.mesh_code import MeshCodeFit
from talkingavatar.engine.stages.stage import Stage, StageContext
from talkingavatar.engine.stages.syncnet import SyncNetFit
from talkingavatar.errors import UserError

KINDS: dict[str, type[Stage]] = {"avatar": AvatarFit, "driver": DriverFit}
PRETRAINED: dict[str, type[Stage]] = {"syncnet": SyncNetFit, "mesh_code": MeshCodeFit}  # by `pretrained.name`


def check_stage(name: str, config: FitConfig) -> None:
    """Refuse at once what the stage of this name would refuse when it is built.

    Raises:
        UserError: a mistake in what it is told.
    """
    seen = seen_by(config, name)
    _class(seen, config.stages[name].kind).check(seen)


def build_stage(name: str, config: FitConfig, before: dict[str, Stage]) -> Stage:
    """The stage of this name, from the experiment's configuration and the fitted stages before it."""
    seen = seen_by(config, name)
    return _class(seen, config.stages[name].kind)(StageContext(name, seen, before))


def _class(seen: FitConfig, kind: str) -> type[Stage]:
    if kind != "pretrained":
        return KINDS[kind]
    name = seen.pretrained.name
    if name not in PRETRAINED:
        raise UserError("pretrained.name", repr(name), f"one of {', '.join(PRETRAINED)}", suggestion(name, PRETRAINED))
    return PRETRAINED[name]
