"""What methods, drivers and the pretrained can be told (`method.options`, ...): every option with meaning and unit.

Hydra knows these dataclasses as nodes (`conf/method/thgs.yaml` asks for its own by `options: thgs`), so that an option
is typed and can be set wherever a configuration is made; a YAML file holds only what differs.
"""

from dataclasses import dataclass, field
from typing import Any

from talkingavatar.config.ranges import PEOPLE, each, within


def one_of(default: str, *others: str) -> Any:
    """A field with few values; `config.options` refuses others."""
    return field(default=default, metadata={"one of": (default, *others)})


@dataclass
class Thgs:
    """The first three are rows of the paper's ablation."""

    leb: bool = True  # Learnable Expression Blendshapes
    saam: bool = True  # Spatial Audio Attention Module
    joint: bool = True  # pose, expression and skinning optimised from the pictures
    deform: str = one_of("skin", "centre")  # an expression turns and stretches Gaussians, or moves their centres alone
    behind: float = within(0.008, 0.0, 0.1)  # metres that what is behind cheeks is drawn deeper, with deform=skin
    dressed: bool = True  # start on what the mattes show of clothes and hair, not on the body
    # The paper's "L2 norm" may mean the root (fro) or the sum of squares. The root pulls each of 600,000 entries as
    # hard as the picture does (0.1 / sqrt(600,000) at the start) and holds LEB near zero; the sum pulls in proportion.
    leb_norm: str = one_of("sumsq", "fro", "mse")
    opacity: float = within(0.9, 0.001, 0.999)  # at the start
    scale_min: float = within(1e-4, 1e-06, 1.0)  # metres, of a Gaussian at the start
    scale_max: float = within(2e-2, 1e-06, 1.0)  # metres
    sh_degree: int = within(0, 0, 3)  # of the spherical harmonics of a colour
    mouth_margin: float = within(0.02, 0.0, 1.0)  # metres round the teeth within which SAAM acts
    detach_skinning: bool = True  # no gradient from the picture through the grid coordinates
    anchor_skinning: bool = True  # add what the 3 cm grid cells miss of the parent vertex's weights (lips, fingers)


@dataclass
class TriangleBound:
    """All whose Gaussians lie in triangles."""

    opacity: float = within(0.5, 0.001, 0.999)  # at the start; GaussianAvatars' 0.1 is opaque after thousands of steps
    scale: float = within(0.4, 0.001, 100.0)  # of a Gaussian at the start, in triangles
    sh_degree: int = within(0, 0, 3)  # of the spherical harmonics of a colour
    most_scale: float = within(0.6, 0.0, 1000.0)  # triangles, above which the scale loss pulls (GaussianAvatars)
    most_position: float = within(1.0, 0.0, 1000.0)  # triangles from the centroid, where the position loss begins


@dataclass
class FlameRigged(TriangleBound):
    """The rigged head."""

    # Gaussians start on what the mattes show of clothes and hair and go with the skin there, or ride on one triangle.
    deform: str = one_of("skin", "triangle")
    behind: float = within(0.008, 0.0, 0.1)  # as Thgs', with deform=skin
    opacity: float = within(0.9, 0.001, 0.999)  # at the start: what blinks and turns first show is to be opaque


@dataclass
class MotionLatent(FlameRigged):
    """VASA-3D's head."""

    mapper: str = one_of("warm", "scratch")  # from latent to rig: begun by least squares, or at random as published
    # What a latent does beyond the rig: of each Gaussian directions that it weighs, a network (published), nothing.
    residual: str = one_of("basis", "mlp", "none")
    # What tells how alike pictures look: LPIPS of a backbone, differences of edges, or the first backbone found.
    perceptual: str = one_of("auto", "squeeze", "alex", "vgg", "edges")
    patch: int = within(224, 0, 8192)  # pixels of the square, another one in each step, that it sees; 0 all (published)


@dataclass
class AuDiffusion(FlameRigged):
    """EmoDiffTalk's head."""

    # What action units do beyond the rig: in proportion, as read by networks (published), nothing.
    residual: str = one_of("basis", "mlp", "none")
    features: int = within(8, 1, 256)  # floats of a Gaussian's line of a unit that networks read (published: 16)
    colour: str = one_of("gaussians", "triplane")  # each its own, or one field's for all (published)
    perceptual: str = one_of("auto", "squeeze", "alex", "vgg", "edges")  # as MotionLatent's, and so
    patch: int = within(224, 0, 8192)


@dataclass
class SoundDeformed(TriangleBound):
    """Heads whose faces sound deforms and no rig moves."""

    margin: float = within(0.05, 0.0, 10.0)  # metres round the figure's head, whose Gaussians the sound deforms


@dataclass
class AudioDeformed(SoundDeformed):
    """The baseline in the style of GaussianTalker."""


@dataclass
class BranchDeformed(SoundDeformed):
    """The baseline in the style of TalkingGaussian."""

    perceptual: str = one_of("auto", "squeeze", "alex", "vgg", "edges")  # as MotionLatent's
    patch: int = within(96, 0, 8192)  # pixels of the square, another one in each step, that it sees; 0 all


@dataclass
class SyncNet:
    """A step embeds places x windows pieces of 5 frames."""

    identities: list[int] = field(default_factory=lambda: [0, 1, 2], metadata=each(0, PEOPLE))  # embedded; or data.path
    captures: list[str] = field(default_factory=list)  # folders of further captures
    unseen: list[str] = field(default_factory=list)  # folders of captures it is measured on and never trained on
    clips: int = within(4, 1, 4096)  # of the captures, in a step: windows of one are told apart
    places: int = within(24, 1, 4096)  # of these, in a step; neighbours are nearly the same
    windows: int = within(1, 1, 4096)  # at each place: above 1, each other's hard negatives
    reach: int = within(15, 0, 10**4)  # frames within which the windows of a place lie
    eased_share: float = within(0.5, 0.0, 1.0)  # of the steps, over which pictures and sound come to vary as they may
    weight_decay: float = within(0.01, 0.0, 1000.0)  # AdamW's


@dataclass
class MeshCode:
    """Faces drawn at random that talk as the embedded speakers do."""

    performances: int = within(12, 1, 1000)  # that the faces' motion is taken from
    seconds: float = within(20.0, 0.2, 90.0)  # of each
    faces: int = within(32, 1, 4096)  # in a step
    first: int = within(400, 2, 20_000)  # faces whose principal directions are the start
    heldout: float = within(10.0, 0.2, 90.0)  # seconds of each named speaker that it is measured on


@dataclass
class DriverOptions:
    """What every trained driver has: of whom it learns."""

    identities: list[int] = field(default_factory=lambda: [0, 1, 2], metadata=each(0, 2))  # embedded ones
    captures: list[str] = field(default_factory=list)  # folders of further captures
    own_share: float = within(0.2, 0.0, 1.0)  # that the run's own capture has; the others share the rest by length

    @property
    def needs_units(self) -> bool:
        """Whether it learns of clips alone whose action units are known."""
        return False


@dataclass
class RigDriver(DriverOptions):
    """Drivers that foretell parts of a pose, or action units."""

    # Some of jaw | mouth | upper | eyes | head; or units alone: OpenFace's 17 action units.
    targets: list[str] = field(default_factory=lambda: ["jaw", "mouth"])
    width: int = within(128, 8, 8192)  # of all layers
    heads: int = within(4, 1, 1024)  # of attention, which share the width
    windows: int = within(8, 1, 4096)  # sequences a step; several processes share them
    length: int = within(75, 8, 10**5)  # frames of each, fewer where a clip has no stretch as long
    variation: float = within(1.0, 0.0, 100.0)  # of the sound, as by other microphones and rooms (log-mel); 0 none
    grain: float = within(2.0, 0.0, 1000.0)  # noise on every feature, in the features' standard deviations
    squared: bool = True  # differences are squared, else absolute
    least_std: float = within(0.2, 0.0, 1.0)  # of the largest deviation of its kind, which each parameter has at least
    least_r: float = within(0.1, 0.0, 1.0)  # what a linear guess follows with less r stays at its mean; 0 trains all
    most_gain: float = within(2.0, 1.0, 1000.0)  # motion is raised by that r inverse, at most so much; 1 leaves it
    weight_decay: float = within(0.01, 0.0, 1000.0)  # AdamW's

    @property
    def needs_units(self) -> bool:
        return "units" in self.targets


@dataclass
class Audio2Param(RigDriver):
    encoder_layers: int = within(2, 1, 100)
    decoder_layers: int = within(1, 1, 100)
    past: int = within(8, 1, 10**4)  # frames before its own that a layer sees
    look: int = within(1, 0, 10**4)  # frames after its own that an encoder layer sees: each costs a frame of delay
    align: int = within(1, 0, 10**4)  # frames of sound to each side that the decoder sees
    feedback: str = one_of(
        "none", "teacher", "free"
    )  # its last output told to the decoder: in training the true one, own
    smooth: float = within(1.0, 0.0, 1000.0)  # standard deviation in frames of the kernel over the outputs; 0 is none
    dropout: float = within(0.3, 0.0, 0.9)  # share


@dataclass
class Diffusion(RigDriver):
    """Motion drawn in windows of `length` frames."""

    targets: list[str] = field(default_factory=lambda: ["jaw", "mouth", "upper", "eyes", "head"])
    # Noise is taken away in steps; or, as rows to compare with: one step from nothing, and that by recurrent layers.
    kind: str = one_of("ddim", "regression", "gru")
    variable: str = one_of("expression", "vertices")  # the rig's numbers, or components of what they move (published)
    layers: int = within(4, 1, 100)
    windows: int = within(16, 1, 4096)
    length: int = within(60, 8, 10**5)  # the published window at 25 frames a second
    overlap: int = within(10, 0, 10**5)  # frames of a window that the one before has made
    grain: float = within(0.5, 0.0, 1000.0)
    least_r: float = within(0.0, 0.0, 1.0)  # what sound leaves free is drawn
    most_gain: float = within(1.0, 1.0, 1000.0)  # what is drawn has its extent already
    steps: int = within(10, 1, 500)  # of sampling
    units: bool = False  # prompted with action units, which a stage before it foretells; in training the clip's own
    # Share of sequences that are learned without sound; as many without units, and without both.
    deaf: float = within(0.1, 0.0, 0.3)
    guidance: float = within(1.15, 0.0, 100.0)  # of sound against none (JoyVASA's); 1 leaves the latter out
    units_guidance: float = within(1.0, 0.0, 100.0)  # of units against none

    @property
    def needs_units(self) -> bool:
        return self.units or super().needs_units


OPTIONS: dict[str, dict[str, type]] = {  # by section and by the name in it
    "method": {
        "thgs": Thgs,
        "flame_rigged": FlameRigged,
        "motion_latent": MotionLatent,
        "au_diffusion": AuDiffusion,
        "audio_deformed": AudioDeformed,
        "branch_deformed": BranchDeformed,
    },
    "driver": {"audio2param": Audio2Param, "diffusion": Diffusion},
    "pretrained": {"syncnet": SyncNet, "mesh_code": MeshCode},
}
