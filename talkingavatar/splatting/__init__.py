"""Gaussians and cameras to pixels, depth and normals; density control; files of Gaussians."""

from talkingavatar.splatting.render import rasterise

__all__ = ["rasterise"]
