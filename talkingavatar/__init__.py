"""An experiment platform for 3D Gaussian talking avatars."""

__version__ = "0.1.0"
