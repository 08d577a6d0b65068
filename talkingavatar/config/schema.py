"""The typed configuration of a fit: every field with its meaning and unit."""

from dataclasses import dataclass, field
from typing import Any

# Raised when a field goes, or means something else: runs of another number are refused. A new field raises nothing.
SCHEMA = 1


@dataclass
class BodyConfig:
    name: str = "open"  # open | open_flame (its head) | smplx | flame
    path: str | None = None  # licensed model file or folder; None looks in the usual places
    gender: str = "neutral"  # neutral | male | female (licensed SMPL-X)


@dataclass
class DataConfig:
    name: str = "speaker"  # speaker (embedded, synthetic) | capture (a folder on disk)
    path: str | None = None  # capture folder, for data=capture
    identity: int = 0  # which embedded person
    seed: int = 0  # of the performance and the tracker's noise
    seconds: float = 24.0  # length of the embedded performance
    fps: int = 25  # frames per second of the embedded performance
    size: int = 512  # picture width and height, pixels
    framing: str = "body"  # of the embedded person: body (head to hips) | head (head and shoulders)
    tracker_noise: float = 1.0  # scale of the simulated tracker's faults; 0 gives the true parameters
    views: list[str] = field(default_factory=list)  # cameras trained on, a step each in turn; none named: the first
    heldout: float = 0.2  # share of the clip, at its end, that is never trained on
    stride: int = 4  # every n-th frame of the first part is trained on
    pose_slack: float = 1.0  # scales how far one visit may move a tracked pose; 1 suits the simulated tracker
    exposure: bool = False  # learn a gain per training frame: a real camera's exposure drifts
    shutter: float = 0.0  # share of a frame's time that the camera's is open; above 0, quick motion is fitted blurred
    random_background: bool = False  # train before another colour each step: no Gaussian paints the background
    cache_mb: int = 1024  # decoded frames kept in memory


@dataclass
class AudioConfig:
    name: str = "logmel"  # logmel | wav2vec2 | deepspeech
    path: str | None = None  # wav2vec2 checkpoint folder, or published windows (npy)
    output: str = "logits"  # wav2vec2: logits | hidden


@dataclass
class RendererConfig:
    mode: str = "2dgs"  # 2dgs (surfels) | 3dgs
    backend: str = "auto"  # auto | cpu | plain | gsplat
    background: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])  # RGB


@dataclass
class DensityConfig:
    name: str = "default"  # none | default
    start: int = 500  # steps, on the paper's scale (`method.paper_steps`; the paper states none of these)
    stop: int = 75_000  # half of the run, as 3DGS
    every: int = 1000
    min_every: int = 100  # actual steps: gradients of fewer frames say nothing
    grow_gradient: float = 2e-4  # screen gradient above which a Gaussian is cloned or split
    prune_opacity: float = 0.05
    max_gaussians: int | None = None  # None: 200,000 on a GPU, budget.cpu_gaussians on a CPU


@dataclass
class LossTermConfig:
    weight: float = 1.0
    start: int = 0  # step on the paper's scale (`method.paper_steps`)


@dataclass
class LossConfig:
    name: str = "thgs"
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class RateConfig:
    """One row of a schedule table: a group of parameters, on the paper's scale (`method.paper_steps`)."""

    start: int = 0  # step before which the group is frozen
    lr: float = 1e-3  # at its start
    lr_end: float = 1e-3  # at the last step, log-linear in between
    rule: str = "fixed"  # how a shorter budget changes the rate: fixed | travel | visits (see conf/method/thgs.yaml)
    limit: float = 1.0  # highest rate the rule may reach
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])  # Adam's
    eps: float = 1e-15  # Adam's; 3DGS's, whose gradients are tiny
    weight_decay: float = 0.0  # a step of rate 1 takes off this share (AdamW)
    clip: float = 0.0  # largest norm of the group's gradient; 0 lets any pass


@dataclass
class MethodConfig:
    name: str = "thgs"
    options: dict[str, Any] = field(default_factory=dict)  # the method's own, checked against its dataclass
    paper_steps: int = 150_000  # steps that the schedule is written for, and what else starts "on the paper's scale"
    paper_visits: float = 300.0  # times that the paper trains on each frame in these (of about 500 frames)
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    silence: list[str] = field(default_factory=list)  # inputs withheld from fit and drive (INPUTS)


@dataclass
class DriverConfig:
    """What foretells motion from sound: of stages of kind "driver"."""

    name: str = "audio2param"  # as registered in talkingavatar/drivers, or by another package
    step_cost: int = 2  # steps of the budget that one of these is worth
    paper_steps: int = 600  # steps that the starts below are written for
    init: str | None = None  # run directory whose driver is the start: train on many speakers, adapt to one
    options: dict[str, Any] = field(default_factory=dict)  # the driver's own, checked against its dataclass
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class PretrainedConfig:
    """What is trained once and used by others: of stages of kind "pretrained"."""

    name: str = "syncnet"  # syncnet
    step_cost: int = 3  # steps of the budget that one of these is worth
    options: dict[str, Any] = field(default_factory=dict)  # its own, checked against its dataclass
    schedule: dict[str, RateConfig] = field(default_factory=dict)
    terms: dict[str, LossTermConfig] = field(default_factory=dict)


@dataclass
class StageConfig:
    """A named part of an experiment, trained after those above it; its checkpoint is <name>.ckpt.

    A section that it has of its own stands for the experiment's.
    """

    kind: str = "avatar"  # avatar | driver | pretrained
    steps: int | None = None  # optimisation steps; None: the budget's, divided by what one costs
    density: DensityConfig | None = None
    loss: LossConfig | None = None
    method: MethodConfig | None = None
    driver: DriverConfig | None = None
    pretrained: PretrainedConfig | None = None


@dataclass
class BudgetConfig:
    name: str = "quick"
    steps: int = 1200  # optimisation steps of an avatar; other stages are given what takes about as long (step_cost)
    cpu_gaussians: int = 200_000  # most that a CPU can draw in the time, where density.max_gaussians is not given
    frames_per_step: int = 1  # of the capture; `trainer.processes` share them
    warmup: int = 250  # steps in which only the Gaussians themselves are trained, however short the run
    visits: int = 10  # training frames are thinned evenly until each is trained on so many times
    heldout_frames: int = 40  # held-out frames measured at the end, evenly spaced; 0 measures all
    aligned_frames: int = 8  # of these, measured once more with the body's pose aligned to the picture; 0 none
    media_frames: int = 100  # most frames of the side-by-side video and of the turntable; 0 for all there are


@dataclass
class MetricsConfig:
    lpips: list[str] = field(default_factory=lambda: ["alex"])  # alex | vgg | squeeze
    weights: str | None = None  # folder of backbone files; None looks in the usual places


@dataclass
class TrainerConfig:
    accelerator: str = "auto"  # auto | cpu | gpu
    devices: int = 1  # processes on each machine that share a driver's steps, each on a GPU of its own where there are
    nodes: int = 1  # machines
    precision: str = "32"  # of drivers' and SyncNet's networks at work: 32 | bf16; weights, bodies and pictures stay 32
    threads: int = 0  # CPU threads of each process; 0 takes all cores
    checkpoint_every: int = 0  # steps; 0: by the clock, every half minute
    preview_every: int = 100  # steps between live PSNR readings
    log_every: int = 20  # steps between logged scalars
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
    stop_after: int | None = None  # save and end (exit 75) after this step; the rest continues later


@dataclass
class FitConfig:
    experiment: str = "thgs_full"  # the preset's name
    family: str = "thgs"  # that the preset is of
    stages: dict[str, StageConfig] = field(default_factory=dict)  # in order; each continues by itself
    seed: int = 0
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
SOURCES: dict[str, dict[str, str]] = {"speaker": {}, "capture": {"path": "a capture folder"}}
INPUTS = ("audio", "expression", "jaw", "latent", "actions", "emotion")  # that may be withheld (data.inputs)

CHOICES = {
    "body.name": ("open", "open_flame", "smplx", "flame"),
    "body.gender": ("neutral", "male", "female"),
    "data.framing": ("body", "head"),
    "data.name": tuple(SOURCES),
    "audio.name": ("logmel", "wav2vec2", "deepspeech"),
    "audio.output": ("logits", "hidden"),
    "renderer.mode": ("2dgs", "3dgs"),
    "renderer.backend": ("auto", "cpu", "plain", "gsplat"),
    "density.name": ("none", "default"),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    "trainer.precision": ("32", "bf16"),
    "tracking.name": ("none", "wandb"),
}

MINIMUM = {
    "data.seconds": 2.0,
    "data.fps": 10,
    "data.size": 64,
    "data.stride": 1,
    "data.identity": 0,
    "data.tracker_noise": 0.0,
    "data.pose_slack": 0.0,
    "data.shutter": 0.0,
    "data.cache_mb": 1,
    "budget.steps": 1,
    "budget.cpu_gaussians": 1,
    "budget.frames_per_step": 1,
    "driver.step_cost": 1,
    "method.paper_steps": 1,
    "driver.paper_steps": 1,
    "pretrained.step_cost": 1,
    "budget.aligned_frames": 0,
    "budget.visits": 1,
    "trainer.checkpoint_every": 0,
    "trainer.preview_every": 1,
    "trainer.log_every": 1,
    "trainer.threads": 0,
    "trainer.devices": 1,
    "trainer.nodes": 1,
}
