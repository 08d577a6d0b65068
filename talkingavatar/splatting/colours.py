"""What each camera sees of each Gaussian's spherical harmonics."""

from jaxtyping import Float
from torch import Tensor

from talkingavatar.geometry.cameras import eyes
from talkingavatar.geometry.spherical_harmonics import sh_to_rgb
from talkingavatar.types import Cameras, Gaussians


def view_colours(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "C N 3"]:
    """Colours in [0, inf); gradients reach the means and the cameras through the direction of view."""
    if gaussians.sh.shape[1] == 1:
        return sh_to_rgb(gaussians.sh, gaussians.means).expand(len(cameras), -1, -1)
    return sh_to_rgb(gaussians.sh.expand(len(cameras), -1, -1, -1), directions(gaussians, cameras))


def directions(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "C N 3"]:
    """From each camera's eye to each Gaussian, metres."""
    return gaussians.means - eyes(cameras.viewmats)[:, None]
