"""Gaussians and cameras to pixels, depth and normals; density control; files of Gaussians."""

from talkingavatar.splatting.answered import answered, facing
from talkingavatar.splatting.render import rasterise

__all__ = ["answered", "facing", "rasterise"]
