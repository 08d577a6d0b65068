"""A fitted avatar at one moment of its capture, or frame by frame of a performance, to files of other programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from talkingavatar.data.faces import Face, check_face, with_face
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.performing.performance import Performance, Request, open_request, prepare
from talkingavatar.errors import UserError
from talkingavatar.exporters.bake import BakedRun, bake, bound_to
from talkingavatar.exporters.bake_errors import Most
from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.sog import sog
from talkingavatar.exporters.splat import splat
from talkingavatar.exporters.spz import spz
from talkingavatar.exporters.static import settled, surfels, turned
from talkingavatar.runtime.files import folder_for, write_atomically
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.splatting.files import ply
from talkingavatar.types import DrivingSignal, Gaussians

UPSIDE = ("ply", "splat", "sog")  # formats whose viewers turn what they read by 180 degrees about z
CONSTANT = ("splat", "sog")  # that are written without view-dependent colour
MOVING = ("html", "frames")  # that have frames; the others are of one moment

# The page of a run: it shows what is performed, or else the run's capture; notes stand in it.
Page = Callable[[BakedRun, Performance | None, list[str]], str]


@dataclass(frozen=True)
class ExportConfig:
    """What `export` is given."""

    run: Path
    to: tuple[str, ...]  # formats
    frame: int | None = None  # of the capture; None: the middle one of those held out
    actions: Mapping[str, float] = field(default_factory=dict)  # the face by name; none: as it is in the frame
    world: bool = False  # leave all axes as they are: y up, the face along z
    audio: Path | None = None  # what is spoken in frames, or in the page
    bake: bool | None = None  # whether a glb can be moved; None: if its avatar can be baked
    most: Most | None = field(default_factory=Most)  # between a baked avatar and its method; None: anything
    seed: int = 0
    out: Path | None = None  # folder; None: `exports` in the run
    progress: bool = True


@dataclass(frozen=True)
class Exported:
    """Files that were written, and what is to be known of them."""

    files: list[Path]
    notes: list[str]


def export(config: ExportConfig, page: Page) -> Exported:
    """Write each format; a file appears when it is whole, and is written over.

    Raises:
        UserError: a mistake in what was given, or an avatar that is no Gaussians.
    """
    moving = None if config.audio is None else open_request(Request(audio=config.audio, seed=config.seed))
    trained = load_run(config.run)
    folder = folder_for(config.out or trained.run.path / "exports", "out", "choose another")
    baked, use = cache(lambda: bake(trained)), f"use: {bound_to(trained.body.name)}"
    files, notes = _still_files(trained, baked, config, folder)
    performance = None if moving is None else prepare(trained, moving)[0]
    stem = "" if config.audio is None else f"-{config.audio.stem}"
    if "html" in config.to:
        files.append(folder / f"avatar{stem}.html")
        notes += [line for line in [_measured(baked(), config)] if line not in notes]
        write_atomically(files[-1], page(baked(), performance, [use, baked().errors.line()]).encode())
    if "frames" in config.to and performance is not None:
        files.append(_frames(trained, performance.signal, folder / f"frames{stem}", config))
    notes.append(use)
    if trained.data.config.method.options.get("sh_degree") and (flat := [n for n in config.to if n in CONSTANT]):
        notes.append(f"{', '.join(flat)}: without view-dependent colour")
    return Exported(files, notes)


def _still_files(
    trained: FittedRun, baked: Callable[[], BakedRun], config: ExportConfig, folder: Path
) -> tuple[list[Path], list[str]]:
    """Those of one moment, and what is to be known of them."""
    files: list[Path] = []
    notes: list[str] = []
    names = [name for name in config.to if name not in MOVING]
    if not names:
        return files, notes
    number, signal = _moment(trained, config)
    gaussians, extras = _shown(trained, signal), {"run": trained.run.path.name, "use": bound_to(trained.body.name)}
    for name in names:
        files.append(folder / f"avatar-{number}.{name}")
        moving = _moving(baked, config, notes) if name == "glb" else None
        if moving is None:
            write_atomically(files[-1], _written(trained, name, gaussians, config.world, extras))
        else:
            write_atomically(files[-1].with_suffix(".json"), json.dumps(moving.errors.facts(), indent=1) + "\n")
            write_atomically(files[-1], moving.showing(gaussians, moving.errors))
    return files, notes


def _moving(baked: Callable[[], BakedRun], config: ExportConfig, notes: list[str]) -> BakedRun | None:
    """What moves a file's avatar; None where it is to stand still, or can but. `notes` are told of it.

    Raises:
        UserError: it is to move and cannot, or is too far from the method.
    """
    if config.bake is False:
        return None
    try:
        made = baked()
    except UserError as error:
        if config.bake:
            raise
        notes.append(f"glb: it stands still, for it has no baked form ({error.found})")
        return None
    notes.append(_measured(made, config))
    return made


def _measured(made: BakedRun, config: ExportConfig) -> str:
    """How far it is from the method.

    Raises:
        UserError: too far.
    """
    if config.most is not None:
        made.errors.check(config.most)
    return made.errors.line()


def _moment(trained: FittedRun, config: ExportConfig) -> tuple[int, DrivingSignal]:
    """Its number, and what drives the avatar there.

    Raises:
        UserError: no such frame, or an action that the body has not.
    """
    data, body = trained.data, trained.body
    held, count = data.capture.test_frames, data.capture.manifest.frames
    number = held[len(held) // 2] if config.frame is None else config.frame
    if not 0 <= number < count:
        raise UserError("frame", str(number), f"a frame of the capture, 0 to {count - 1}", "correct it")
    signal = data.signal([number])
    if config.actions:
        face = Face("actions", config.actions, {})
        check_face(face, body.expression_names, body.joint_names)
        pose = with_face(signal.pose, face, body.expression_names, body.joint_names)
        signal = trained.method.reposed(signal, pose)
    return number, signal


@torch.no_grad()
def _shown(trained: FittedRun, signal: DrivingSignal) -> Gaussians:
    gaussians = trained.method.drive(signal.to(trained.method.device))
    return settled(surfels(gaussians) if _is_surfels(trained) else gaussians)


def _is_surfels(trained: FittedRun) -> bool:
    return trained.data.config.renderer.mode == "2dgs"


def _written(trained: FittedRun, name: str, gaussians: Gaussians, world: bool, extras: dict[str, str]) -> bytes:
    gaussians = turned(gaussians) if name in UPSIDE and not world else gaussians
    flat = _is_surfels(trained)
    writers: dict[str, Callable[[], bytes]] = {
        "ply": lambda: ply(gaussians, ["SplatRenderMode: 2dgs"] if flat else []),
        "splat": lambda: splat(gaussians),
        "spz": lambda: spz(gaussians),
        "sog": lambda: sog(gaussians, flat),
        "glb": lambda: glb(gaussians, extras),
    }
    return writers[name]()


def _frames(trained: FittedRun, signal: DrivingSignal, folder: Path, config: ExportConfig) -> Path:
    """A .ply a frame, as viewers of sequences take a folder of them; it appears when it is whole."""
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    with ProgressBar("frames", len(signal), config.progress) as bar:
        for t in range(len(signal)):
            gaussians = _shown(trained, signal[t : t + 1])
            (unfinished / f"{t:06d}.ply").write_bytes(_written(trained, "ply", gaussians, config.world, {}))
            bar.advance()
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.replace(folder)
    return folder
