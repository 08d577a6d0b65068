"""Gaussians and cameras to pixels, depth and normals; density control; files of Gaussians."""

from talkingavatar.splatting.answered import answered
from talkingavatar.splatting.render import paint, rasterise, to_bytes

__all__ = ["answered", "paint", "rasterise", "to_bytes"]
