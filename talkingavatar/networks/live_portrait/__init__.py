"""LivePortrait (arXiv 2407.03168; its code MIT): the five networks, with the keys and shapes of the published files."""

from talkingavatar.networks.live_portrait.appearance import AppearanceExtractor
from talkingavatar.networks.live_portrait.generator import SpadeGenerator
from talkingavatar.networks.live_portrait.keypoints import Motion, angles_of, rotation
from talkingavatar.networks.live_portrait.motion import MotionExtractor
from talkingavatar.networks.live_portrait.stitching import Stitching
from talkingavatar.networks.live_portrait.warping import Warped, WarpingModule
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

__all__ = [
    "PUBLISHED",
    "AppearanceExtractor",
    "Motion",
    "MotionExtractor",
    "SpadeGenerator",
    "Stitching",
    "Warped",
    "WarpingModule",
    "Widths",
    "angles_of",
    "rotation",
]
