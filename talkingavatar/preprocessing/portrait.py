"""One picture to a capture, stage by stage: the head is cut out, the rig fitted to it, and motions move it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.config.preprocess import PreprocessConfig
from talkingavatar.data.capture import Capture, Manifest
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.data.portrait.mesh_warp import SHIPPED, MeshWarp
from talkingavatar.data.portrait.portrait import Portrait, before_camera
from talkingavatar.data.portrait.record import RECORD_VERSION, Still, write_portrait
from talkingavatar.data.portrait.script import script_of
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path
from talkingavatar.preprocessing.aligned import load_alignment, save_alignment
from talkingavatar.preprocessing.alignment import align as alignment
from talkingavatar.preprocessing.assemble import ALL_PARTS, CONTENTS, MANIFEST, publish, published
from talkingavatar.preprocessing.clip import ProgressFunction, save_png
from talkingavatar.preprocessing.head import FIELD, check_view, cut_out, find_head, shaded_eyes
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.landmarks.detections import keypoints
from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter, track
from talkingavatar.preprocessing.landmarks.mediapipe_source import say
from talkingavatar.preprocessing.landmarks.steady_masks import SteadyMasks
from talkingavatar.preprocessing.matte import Footage, refine
from talkingavatar.preprocessing.picture import read_picture
from talkingavatar.preprocessing.pipeline import capture_folder, refuse_foreign
from talkingavatar.preprocessing.stages import Stage, made_anew, only_one, remove, run_stage, write_json
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import sha256

VERSIONS = {"cut": 1, "fit": 2, "capture": 1}  # of the stages: raise when the same inputs would give another result
SHOWN = 3  # times that the picture is shown to trackers, which settle
PICTURE, MATTE = "picture.png", "matte.png"
MOST_APART = 0.08  # of the face's height, by which the fitted body's landmarks may miss the detector's


@dataclass(frozen=True)
class Fitted:
    """A portrait in its work folder: the head cut out, the rig fitted to it."""

    folder: Path  # the capture's
    file: Path
    cut: Stage
    fit: Stage
    mesh: FaceMesh

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def still(self) -> Still:
        with made_anew(self.work):
            return _still(self.work / self.fit.name, self.mesh)

    def told(self) -> dict[str, Any]:
        """Of the picture, for a capture's provenance."""
        with made_anew(self.work):
            box = json.loads((self.work / self.cut.name / "cut.json").read_text())
        return {"portrait": self.file.name, "sha256": self.cut.inputs["portrait"], "cut": box}


@contextmanager
def fitted_portrait(config: PreprocessConfig, progress: ProgressFunction) -> Iterator[Fitted]:
    """`config.portrait`, from wherever an earlier start left off; the work folder is this process's meanwhile.

    Raises:
        UserError: a mistake in what was given, or a picture that nothing can be made of.
    """
    file, folder = user_path(str(config.portrait)), capture_folder(config)
    picture = read_picture(file, FIELD)
    work = folder / "work"
    if (folder / MANIFEST).is_file() and not work.is_dir():
        raise UserError("out", f"{folder}: a capture made by something else", "a folder of its own", "give name=...")
    refuse_foreign(folder)
    with only_one(work):
        options = {"crop": config.crop, "size": config.long_side}
        cut = Stage("cut", VERSIONS["cut"], options, {"portrait": sha256(file)})
        run_stage(work, cut, lambda made: _cut(picture, config, made, progress))
        mesh = FaceMesh(load_body("open"))
        fit = Stage("fit", VERSIONS["fit"], {}, {"cut": cut.key, "body": mesh.body.checksum})
        run_stage(work, fit, lambda made: _fit(work / cut.name, mesh, made, progress))
        yield Fitted(folder, file, cut, fit, mesh)


def preprocess_portrait(config: PreprocessConfig, progress: ProgressFunction) -> Manifest:
    """Make the capture of `config.portrait`, moved by its mesh code.

    Raises:
        UserError: as `fitted_portrait`.
    """
    with fitted_portrait(config, progress) as fitted:
        told = {"name": config.title, "frames": config.frames, "heldout": config.heldout, "record": RECORD_VERSION}
        capture = Stage("capture", VERSIONS["capture"], told, {"fit": fitted.fit.key, "code": sha256(SHIPPED)})
        if not published(fitted.folder, capture.key):
            work = fitted.work
            if not (work / capture.name / MANIFEST).is_file():
                remove(work / capture.name)  # it was published, and the capture deleted since
            still, source = fitted.still(), fitted.told() | {"key": capture.key}
            made = run_stage(work, capture, lambda to: _write(config, fitted.mesh, still, source, to, progress))
            publish(fitted.folder, made)
    return Capture(fitted.folder).manifest


def _cut(picture: UInt8[ndarray, "H W 3"], config: PreprocessConfig, folder: Path, progress: ProgressFunction) -> None:
    """picture.png, the head alone, and cut.json: where it lay."""
    advance = progress("finding the head", 1)
    x0, y0 = 0, 0
    if config.crop is not None:
        height, width = picture.shape[:2]
        x0, y0, x1, y1 = config.crop
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            expected = f"x0,y0,x1,y1 within 0,0,{width},{height}"
            raise UserError("crop", ",".join(map(str, config.crop)), expected, "correct it")
        picture = np.ascontiguousarray(picture[y0:y1, x0:x1])
    box = find_head(picture, interpreter(say))
    save_png(cut_out(picture, box, config.long_side), folder / PICTURE)
    write_json(folder / "cut.json", [box[0] + x0, box[1] + y0, box[2] + x0, box[3] + y0])
    advance()


def _fit(cut: Path, mesh: FaceMesh, folder: Path, progress: ProgressFunction) -> None:
    """The person on white, the matte, and the rig as it lies in the one picture."""
    with made_anew(cut):
        picture = _read(cut / PICTURE, "RGB")
    height, width = picture.shape[:2]
    advance = progress("landmarks and matte", 2)
    records = np.array(list(track([picture] * SHOWN, interpreter(say))))
    seen = keypoints(records, [(0, SHOWN)], width, height).frames([SHOWN - 1])
    check_view(seen.mesh[0, :, :2])
    if shaded_eyes(picture, seen.mesh[0, :, :2]):
        warn(f"{FIELD}: the eyes are not seen, as behind sunglasses: they will move with the face and look nowhere")
    advance()
    mask = records["mask"][-1:]
    steady = SteadyMasks(mask, seen.points, (mask.shape[2] / width, mask.shape[1] / height), [(0, 1)])

    def coarse(index: int) -> UInt8[ndarray, "H W"]:
        return np.array(Image.fromarray(steady[index]).resize((width, height), Image.Resampling.BICUBIC))

    footage = Footage(lambda _: picture, coarse, seen, [(0, 1)], width, height)
    ((matte, person),) = refine(footage, [None])
    advance()
    save_png(matte, folder / MATTE)
    save_png(person, folder / PICTURE)
    options = alignment.AlignmentOptions(calibrated=False)
    found = alignment.align(seen, [(0, 1)], FPS, width, height, mesh.body, options, progress, folder)
    _check_fit(found, seen)
    save_alignment(found, folder / "alignment.pt")


def _check_fit(found: alignment.Alignment, seen: Keypoints) -> None:
    """
    Raises:
        UserError: the body's landmarks lie elsewhere than the picture's.
    """
    face = seen.face68()[0, :, :2]
    apart = list(found.distances.values())[-1].face / max(float(np.ptp(face[:, 1])), 1.0)
    if not apart < MOST_APART:
        raise UserError(FIELD, f"a face that the mesh misses by {100 * apart:.1f} % of its height",
                        f"at most {100 * MOST_APART:g} %", "give a photograph of a face from the front")  # fmt: skip


def _still(fit: Path, mesh: FaceMesh) -> Still:
    found = load_alignment(fit / "alignment.pt")
    with torch.no_grad():
        world, neutral = mesh.posed(found.pose)[0], mesh.neutral(found.pose.betas)[0]
    K = found.K.numpy().astype(np.float64)
    picture, matte = _read(fit / PICTURE, "RGB"), _read(fit / MATTE, "L")
    return Still(Portrait(picture, matte, K, neutral, before_camera(world, found.viewmat)), found.pose, found.viewmat)


def _write(
    config: PreprocessConfig,
    mesh: FaceMesh,
    still: Still,
    told: dict[str, Any],
    folder: Path,
    progress: ProgressFunction,
) -> None:
    source = MeshWarp(mesh)
    script = script_of(source, config.frames)
    tick = progress("moving the portrait", len(script))
    write_portrait(folder, config.title, source, still, script, config.heldout, tick, told)
    write_json(folder / CONTENTS, [name for name in ALL_PARTS if (folder / name).exists()])


def _read(file: Path, mode: str) -> ndarray:
    with Image.open(file) as image:
        return np.array(image.convert(mode))
