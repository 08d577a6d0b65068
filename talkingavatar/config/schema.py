"""The typed configuration of a fit: every field with its meaning and unit."""

from dataclasses import dataclass, field
from typing import Any

from talkingavatar.config.ranges import MOST_STEPS, PEOPLE, SEED, each, within

# Raised when a field goes, or means something else: runs of another number are refused. A new field raises nothing.
SCHEMA = 1


@dataclass
class BodyConfig:
    name: str = "open"  # open | open_flame (its head) | smplx | flame
    path: str | None = None  # licensed model file or folder; None looks in the usual places
    gender: str = "neutral"  # neutral | male | female (licensed SMPL-X)


@dataclass
class DataConfig:
    name: str = "speaker"  # speaker (embedded, synthetic) | portrait (one picture of it, moved) | capture (on disk)
    path: str | None = None  # capture folder, for data=capture
    identity: int = within(0, 0, PEOPLE)  # which embedded person; from 3 on strangers, drawn at random
    seed: int = within(0, *SEED)  # of the performance and the tracker's noise
    seconds: float = within(24.0, 2.0, 36_000.0)  # length of the embedded performance
    frames: int = within(600, 20, 6000)  # of the embedded portrait's motion, at 25 a second
    fps: int = within(25, 10, 240)  # frames per second of the embedded performance
    size: int = within(512, 64, 8192)  # picture width and height, pixels
    emotions: str = "none"  # felt by the embedded person, heard and labelled: none | all | some, as happy+sad
    cameras: int = within(1, 1, 11)  # that record the embedded person: one in front, others aside (see views)
    framing: str = "body"  # of the embedded person: body (head to hips) | head (head and shoulders)
    cloth: str = "own"  # of the embedded person's top: own | pinstripe (a stripe every 6 pixels of the default size)
    tracker_noise: float = within(1.0, 0.0, 1000.0)  # scales the simulated tracker's faults; 0: true parameters
    views: list[str] = field(default_factory=list)  # cameras trained on, in turn; none: the first, [all]: all
    heldout: float = within(0.2, 0.001, 0.999)  # share of the clip, at its end, that is never trained on
    stride: int = within(4, 1, 10**6)  # every n-th frame of the first part is trained on
    shape_shift: bool = True  # let tracked shapes put the eyes where landmarks show them, in the mean of all frames
    face_gains: bool = True  # make up for what landmarks show that tracked faces lack: in size, lips, blinks
    balance: float = within(0.5, 0.0, 1.0)  # share of the steps that draws its frame by how seldom its face is
    pose_slack: float = within(1.0, 0.0, 1000.0)  # how far a visit may move a tracked pose; 1 suits a simulated one
    exposure: bool = False  # learn a gain per training frame: a real camera's exposure drifts
    shutter: float = within(0.0, 0.0, 1.0)  # share of a frame's time that it is open; above 0, motion is fitted blurred
    random_background: bool = False  # train before another colour each step: no Gaussian paints the background
    confidence: bool = (
        False  # weigh each pixel by how far it may be believed, where the capture (of a portrait) says it
    )
    cache_mb: int = within(1024, 1, 10**7)  # decoded frames kept in memory


@dataclass
class AudioConfig:
    name: str = "logmel"  # logmel | wav2vec2 | deepspeech
    path: str | None = None  # wav2vec2 checkpoint folder, or published windows (npy)
    output: str = "logits"  # wav2vec2: logits | hidden


@dataclass
class RendererConfig:
    mode: str = "2dgs"  # 2dgs (surfels) | 3dgs
    backend: str = "auto"  # auto | cpu | plain | gsplat
    background: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0], metadata=each(0.0, 1.0, length=3))  # RGB


@dataclass
class DensityConfig:
    name: str = "default"  # none | default
    by: str = "gradient"  # gradient: what is steep grows | error: as many, where pictures are wrong
    start: int = within(500, 0, MOST_STEPS)  # steps on the paper's scale (`method.paper_steps`)
    stop: int = within(75_000, 0, MOST_STEPS)  # half of the run, as 3DGS
    every: int = within(1000, 1, MOST_STEPS)
    min_every: int = within(100, 1, MOST_STEPS)  # actual steps: gradients of fewer frames say nothing
    grow_gradient: float = within(2e-4, 0.0, 1e6)  # screen gradient above which a Gaussian is cloned or split
    prune_opacity: float = within(0.05, 0.0, 1.0)
    max_gaussians: int | None = within(None, 1, 10**8)  # None: 200,000 on a GPU, budget.cpu_gaussians on a CPU


@dataclass
class LossTermConfig:
    weight: float = within(1.0, 0.0, 1e9)
    start: int = within(0, 0, MOST_STEPS)  # step on the paper's scale (`method.paper_steps`)
    every: int = within(1, 1, 10**6)  # steps: it counts in one of so many (of methods)


@dataclass
class LossConfig:
    name: str = "thgs"
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class RateConfig:
    """One row of a schedule table: a group of parameters, on the paper's scale (`method.paper_steps`)."""

    start: int = within(0, 0, MOST_STEPS)  # step before which the group is frozen
    stop: int | None = within(None, 1, MOST_STEPS)  # step from which it is frozen again; None: it learns to the end
    lr: float = within(1e-3, 0.0, 1e3)  # at its start
    lr_end: float = within(1e-3, 0.0, 1e3)  # at its last step, log-linear in between
    rule: str = "fixed"  # how a shorter budget changes the rate: fixed | travel | visits (see conf/method/thgs.yaml)
    limit: float = within(1.0, 0.0, 1e3)  # highest rate the rule may reach
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999], metadata=each(0.0, 0.999999, length=2))  # Adam's
    eps: float = within(1e-15, 0.0, 1.0)  # Adam's; 3DGS's, whose gradients are tiny
    weight_decay: float = within(0.0, 0.0, 1e3)  # a step of rate 1 takes off this share (AdamW)
    clip: float = within(0.0, 0.0, 1e9)  # largest norm of the group's gradient; 0 lets any pass


@dataclass
class MethodConfig:
    name: str = "thgs"
    options: dict[str, Any] = field(default_factory=dict)  # the method's own, checked against its dataclass
    paper_steps: int = within(150_000, 1, MOST_STEPS)  # the schedule and what starts "on the paper's scale" are for
    paper_visits: float = within(300.0, 1e-3, 1e9)  # of each frame in these (of about 500 frames)
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    silence: list[str] = field(default_factory=list)  # inputs withheld from fit and drive (INPUTS)


@dataclass
class DriverConfig:
    """What foretells motion from sound: of stages of kind "driver"."""

    name: str = "audio2param"  # as registered in talkingavatar/drivers, or by another package
    step_cost: int = within(2, 1, 10**6)  # steps of the budget that one of these is worth
    paper_steps: int = within(600, 1, MOST_STEPS)  # steps that the starts below are written for
    init: str | None = None  # run directory whose driver is the start: train on many speakers, adapt to one
    options: dict[str, Any] = field(default_factory=dict)  # the driver's own, checked against its dataclass
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class PretrainedConfig:
    """What is trained once and used by others: of stages of kind "pretrained"."""

    name: str = "syncnet"  # syncnet | mesh_code
    step_cost: int = within(3, 1, 10**6)  # steps of the budget that one of these is worth
    options: dict[str, Any] = field(default_factory=dict)  # its own, checked against its dataclass
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class StageConfig:
    """A named part of an experiment, trained after those above it; its checkpoint is <name>.ckpt.

    A section that it has of its own stands for the experiment's.
    """

    kind: str = "avatar"  # avatar | driver | pretrained
    steps: int | None = within(None, 1, MOST_STEPS)  # optimisation steps; None: the budget's, divided by what one costs
    density: DensityConfig | None = None
    loss: LossConfig | None = None
    method: MethodConfig | None = None
    driver: DriverConfig | None = None
    pretrained: PretrainedConfig | None = None


@dataclass
class BudgetConfig:
    name: str = "quick"
    steps: int = within(1200, 1, MOST_STEPS)  # of an avatar; other stages get what takes about as long (step_cost)
    cpu_gaussians: int = within(200_000, 1, 10**8)  # most that a CPU draws in the time, for density.max_gaussians
    frames_per_step: int = within(1, 1, 4096)  # of the capture; `trainer.processes` share them
    warmup: int = within(250, 0, MOST_STEPS)  # steps in which the Gaussians alone are trained, however short the run
    visits: int = within(10, 1, 10**6)  # training frames are thinned evenly until each is trained on so many times
    heldout_frames: int = within(40, 0, 10**6)  # held-out frames measured at the end, evenly spaced; 0 measures all
    aligned_frames: int = within(8, 0, 10**6)  # of these, measured again with the pose aligned to the picture; 0 none
    media_frames: int = within(100, 0, 10**6)  # most frames of the side-by-side video and the turntable; 0 for all


@dataclass
class MetricsConfig:
    lpips: list[str] = field(default_factory=lambda: ["alex"])  # alex | vgg | squeeze
    weights: str | None = None  # folder of backbone files; None looks in the usual places


@dataclass
class TrainerConfig:
    accelerator: str = "auto"  # auto | cpu | gpu
    devices: int = within(1, 1, 1024)  # processes a machine that share a driver's steps, each on its own GPU if any
    nodes: int = within(1, 1, 1024)  # machines
    precision: str = "32"  # of drivers' and SyncNet's networks at work: 32 | bf16; weights, bodies and pictures stay 32
    threads: int = within(0, 0, 4096)  # CPU threads of each process; 0 takes all cores
    checkpoint_every: int = within(0, 0, MOST_STEPS)  # steps; 0: by the clock, every half minute
    preview_every: int = within(100, 1, MOST_STEPS)  # steps between live PSNR readings
    log_every: int = within(20, 1, MOST_STEPS)  # steps between logged scalars
    progress: bool = True  # show the progress bar

    @property
    def processes(self) -> int:
        """Of the whole run."""
        return self.devices * self.nodes


@dataclass
class TrackingConfig:
    name: str = "wandb"  # none | wandb (offline unless logged in)
    project: str = "talkingavatar"
    group: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class RunConfig:
    path: str | None = None  # run directory; None: computed from the configuration
    fresh: bool = False  # start anew where a run exists
    stop_after: int | None = within(None, 1, MOST_STEPS)  # save and end (exit 75) after it; the rest continues later


@dataclass
class FitConfig:
    experiment: str = "thgs_full"  # the preset's name
    family: str = "thgs"  # that the preset is of
    stages: dict[str, StageConfig] = field(default_factory=dict)  # in order; each continues by itself
    seed: int = within(0, *SEED)
    body: BodyConfig = field(default_factory=BodyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    density: DensityConfig = field(default_factory=DensityConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    driver: DriverConfig = field(default_factory=DriverConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    run: RunConfig = field(default_factory=RunConfig)
    schema: int = SCHEMA  # of this file; last, for a configuration that was cut off has none


KINDS = ("avatar", "driver", "pretrained")  # of stages
# Where captures come from (data.sources), and what of `data` each cannot do without.
SOURCES: dict[str, dict[str, str]] = {"speaker": {}, "portrait": {}, "capture": {"path": "a capture folder"}}
INPUTS = ("audio", "expression", "jaw", "latent", "actions", "emotion")  # that may be withheld (data.inputs)

CHOICES = {
    "body.name": ("open", "open_flame", "smplx", "flame"),
    "body.gender": ("neutral", "male", "female"),
    "data.cloth": ("own", "pinstripe"),
    "data.framing": ("body", "head"),
    "data.name": tuple(SOURCES),
    "audio.name": ("logmel", "wav2vec2", "deepspeech"),
    "audio.output": ("logits", "hidden"),
    "renderer.mode": ("2dgs", "3dgs"),
    "renderer.backend": ("auto", "cpu", "plain", "gsplat"),
    "density.by": ("gradient", "error"),
    "density.name": ("none", "default"),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    "trainer.precision": ("32", "bf16"),
    "tracking.name": ("none", "wandb"),
}
