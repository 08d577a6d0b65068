"""Gaussians and cameras to pixels, depth and normals; density control; files of Gaussians."""

from talkingavatar.splatting.rasterise import rasterise

__all__ = ["rasterise"]
