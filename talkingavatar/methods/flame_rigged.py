"""GaussianHeadTalk's avatar: Gaussians that ride on the triangles of a tracked head (WACV 2026, arXiv 2512.10939).

What is public of the paper says that its head is an adaptation of GaussianAvatars; this is that rig. Sound does not
come in here: a driver foretells the pose (`stages`), and the mesh carries the Gaussians, so that what the sound does
not move stands still.
"""

from __future__ import annotations

from typing import final

from talkingavatar.config.family_options import FlameRigged as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.triangle_bound import TriangleBound
from talkingavatar.types import DrivingSignal, Layers


@final
class FlameRigged(TriangleBound):
    """Works with any body; with a head alone it stands on a bust (`body.figure`)."""

    group_names, term_names = ROWS["method"]["flame_rigged"].groups, ROWS["method"]["flame_rigged"].terms

    def __init__(self, context: MethodContext) -> None:
        options = read_options(Options(), context.config.method.options)
        super().__init__(context, options, options.deform == "skin", options.behind)

    def deform(self, signal: DrivingSignal) -> Layers:
        return {SHOWN: self.in_pose(self.refined_pose(signal), dict(self.gaussians))}
