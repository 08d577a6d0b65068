"""What methods, drivers and the pretrained can be told (`method.options`, ...): every option with meaning and unit.

Hydra knows these dataclasses as nodes (`conf/method/thgs.yaml` asks for its own by `options: thgs`), so that an option
is typed and can be set wherever a configuration is made; a YAML file holds only what differs.
"""

from dataclasses import dataclass, field
from typing import Any


def one_of(default: str, *others: str) -> Any:
    """A field with few values; `config.options` refuses others."""
    return field(default=default, metadata={"one of": (default, *others)})


@dataclass
class Thgs:
    """The first three are rows of the paper's ablation."""

    leb: bool = True  # Learnable Expression Blendshapes
    saam: bool = True  # Spatial Audio Attention Module
    joint: bool = True  # pose, expression and skinning optimised from the pictures
    # The paper's "L2 norm" may mean the root (fro) or the sum of squares. The root pulls each of 600,000 entries as
    # hard as the picture does (0.1 / sqrt(600,000) at the start) and holds LEB near zero; the sum pulls in proportion.
    leb_norm: str = one_of("sumsq", "fro", "mse")
    opacity: float = 0.9  # at the start
    scale_min: float = 1e-4  # metres, of a Gaussian at the start
    scale_max: float = 2e-2  # metres
    sh_degree: int = 0  # of the spherical harmonics of a colour
    mouth_margin: float = 0.02  # metres round the teeth within which SAAM acts
    detach_skinning: bool = True  # no gradient from the picture through the grid coordinates
    anchor_skinning: bool = True  # add what the 3 cm grid cells miss of the parent vertex's weights (lips, fingers)


@dataclass
class FlameRigged:
    """The rigged head, and all whose Gaussians lie in triangles."""

    opacity: float = 0.5  # at the start; GaussianAvatars' 0.1 takes thousands of steps to become opaque
    scale: float = 0.4  # of a Gaussian at the start, in triangles
    sh_degree: int = 0  # of the spherical harmonics of a colour
    most_scale: float = 0.6  # triangles, above which the scale loss pulls (GaussianAvatars)
    most_position: float = 1.0  # triangles from the centroid, beyond which the position loss pulls (GaussianAvatars)


@dataclass
class AudioDeformed(FlameRigged):
    margin: float = 0.05  # metres round the figure's head, whose Gaussians the sound deforms


@dataclass
class SyncNet:
    """A step embeds places x windows pieces of 5 frames."""

    identities: list[int] = field(default_factory=lambda: [0, 1, 2])  # embedded speakers; data=capture takes data.path
    captures: list[str] = field(default_factory=list)  # folders of further captures
    places: int = 24  # of the captures, in a step; neighbouring windows show nearly the same, so as many as windows
    windows: int = 1  # at each place
    reach: int = 2  # frames within which the windows of a place lie
    middle_share: float = 0.85  # of the steps, which see the middle of the crops alone, at a sixth of the work
    weight_decay: float = 0.01  # AdamW's


@dataclass
class DriverOptions:
    """What every trained driver has: of whom it learns."""

    identities: list[int] = field(default_factory=lambda: [0, 1, 2])  # embedded speakers, the run's own left out
    captures: list[str] = field(default_factory=list)  # folders of further captures
    own_share: float = 0.2  # of what is learned from, the run's own capture; the others share the rest by length


@dataclass
class Audio2Param(DriverOptions):
    targets: list[str] = field(default_factory=lambda: ["jaw", "mouth"])  # some of jaw | mouth | upper | eyes | head
    width: int = 128  # of all layers
    heads: int = 4  # of attention, which share the width
    encoder_layers: int = 2
    decoder_layers: int = 1
    past: int = 8  # frames before its own that a layer sees
    look: int = 1  # frames after its own that an encoder layer sees: each costs a frame of delay
    align: int = 1  # frames of sound to each side that the decoder sees
    feedback: str = one_of(
        "none", "teacher", "free"
    )  # its last output told to the decoder: in training the true one, own
    smooth: float = 1.0  # standard deviation in frames of the kernel over the outputs; 0 is none
    dropout: float = 0.3  # share
    windows: int = 8  # sequences a step; several processes share them
    length: int = 75  # frames of each, fewer where a clip has no stretch as long
    variation: float = 1.0  # of the sound, as other microphones and rooms would have changed it (log-mel); 0 none
    grain: float = 2.0  # noise on every feature, in the features' standard deviations
    squared: bool = True  # differences are squared, else absolute
    least_std: float = 0.2  # share of the largest deviation of its kind that each parameter is taken to have at least
    least_r: float = 0.1  # what a linear guess follows with less correlation stays at its mean; 0 trains all
    most_gain: float = 2.0  # motion is raised by the inverse of that correlation, at most so much; 1 leaves it
    weight_decay: float = 0.01  # AdamW's


OPTIONS: dict[str, dict[str, type]] = {  # by section and by the name in it
    "method": {"thgs": Thgs, "flame_rigged": FlameRigged, "audio_deformed": AudioDeformed},
    "driver": {"audio2param": Audio2Param},
    "pretrained": {"syncnet": SyncNet},
}
