"""EmoTalk3D, whose layout is not described in public: a YAML of path templates says where things lie.

```yaml
subject: "0048"                 # fills {subject} in the templates
sequence: "2-00-01"             # {sequence}; emotion-intensity-sentence
camera: "cam_05"                # {camera}
fps: 30
first: 0                        # number of the first frame; frames are read as long as there are pictures
images: "{subject}/{sequence}/images/{camera}/{frame:06d}.jpg"
masks: "{subject}/{sequence}/masks/{camera}/{frame:06d}.png"    # may be left out: everything is the subject
cameras: "{subject}/cameras.json"                               # {camera: {K: 3x3, w2c: 4x4 or c2w: 4x4}}
axes: opencv                    # or opengl
audio: "{subject}/audio/{sequence}.wav"
meshes: "{subject}/{sequence}/meshes/{frame:06d}.obj"           # noted, not read
flame: "{subject}/{sequence}/flame/{frame:06d}.npz"             # may be left out
emotion: "happy"                # may be left out: then the sequence's first number
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE, Model
from talkingavatar.data.importers.cameras import OPENGL_TO_OPENCV
from talkingavatar.data.importers.clip import (
    Coverage,
    ImportedClip,
    Options,
    Picture,
    default_split,
    fitted_sound,
    read_npz,
    read_picture,
)
from talkingavatar.data.importers.flame import flame_table
from talkingavatar.errors import UserError


@dataclass(frozen=True)
class Layout:
    """What the YAML says; templates are relative to the dataset's folder."""

    images: str
    cameras: str
    audio: str
    subject: str = ""
    sequence: str = ""
    camera: str = ""
    fps: float = 30.0
    first: int = 0
    masks: str | None = None
    meshes: str | None = None
    flame: str | None = None
    emotion: str | None = None
    axes: str = "opencv"

    def path(self, root: Path, template: str, frame: int = 0) -> Path:
        """A template filled in.

        Raises:
            UserError: it names a field that there is not.
        """
        try:
            filled = template.format(subject=self.subject, sequence=self.sequence, camera=self.camera, frame=frame)
        except (KeyError, ValueError, IndexError) as error:
            expected = "{subject}, {sequence}, {camera}, {frame:06d}"
            raise UserError("layout", f"{template!r} ({error})", expected, "correct the template") from error
        return root / filled


def read_emotalk3d(options: Options) -> ImportedClip:
    """One sequence seen by one camera.

    Raises:
        UserError: no layout or a mistake in it, or a file that it names is missing.
    """
    root, layout = options.path, _layout(options)
    frames = _count(root, layout)
    K, viewmat = _camera(root, layout)

    def picture(index: int) -> tuple[Picture, Coverage]:
        image = read_picture(layout.path(root, layout.images, layout.first + index))
        if layout.masks is None:
            return image, np.full(image.shape[:2], 255, np.uint8)
        return image, read_picture(layout.path(root, layout.masks, layout.first + index))[..., 0]

    tables: dict[Model, dict[str, ndarray]] = {}
    if layout.flame is not None:
        files = [layout.path(root, layout.flame, layout.first + i) for i in range(frames)]
        tables["flame"] = flame_table([read_npz(file) for file in files], str(root))
    audio = options.audio or layout.path(root, layout.audio)
    emotion, intensity, sentence = [*layout.sequence.split("-"), "", "", ""][:3]
    return ImportedClip(
        name=options.name or "-".join(part for part in (layout.subject, layout.sequence) if part) or root.name,
        fps=layout.fps,
        frames=frames,
        picture=picture,
        sound=fitted_sound(read_sound(audio, RATE), frames, layout.fps),
        viewmats=viewmat[None],
        Ks=K[None],
        split=default_split(options, frames, 0.2, 1),
        tables=tables,
        provenance={
            "format": "emotalk3d",
            "source": str(root),
            "layout": vars(layout),
            "emotion": layout.emotion or emotion,
            "intensity": intensity,
            "sentence": sentence,
        },
    )


def _layout(options: Options) -> Layout:
    if options.layout is None:
        raise UserError("layout", "nothing", "a YAML with path templates", "give layout=<file> (see --help)")
    expected = ", ".join(f.name for f in fields(Layout))
    try:
        content = OmegaConf.to_container(OmegaConf.load(options.layout))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError("layout", f"{options.layout} ({error})", "a YAML file", "correct it") from error
    given: dict[str, Any] = {str(k): v for k, v in content.items()} if isinstance(content, dict) else {}
    told = {"sequence": options.sequence, "camera": options.camera, "fps": options.fps}
    given |= {key: value for key, value in told.items() if value is not None}
    try:
        layout = Layout(**given)
    except TypeError as error:
        raise UserError("layout", f"{options.layout}: {error}", expected, "correct it") from error
    if layout.axes not in ("opencv", "opengl"):
        raise UserError("layout.axes", layout.axes, "opencv or opengl", "correct it")
    return layout


def _count(root: Path, layout: Layout) -> int:
    count = 0
    while layout.path(root, layout.images, layout.first + count).is_file():
        count += 1
    if count < 2:
        first = layout.path(root, layout.images, layout.first + count)
        raise UserError("layout.images", f"{count} pictures; no {first}", "a sequence of them", "correct the template")
    return count


def _camera(root: Path, layout: Layout) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
    file = layout.path(root, layout.cameras)
    try:
        cameras = json.loads(file.read_text())
        entry = cameras[layout.camera]
        K = np.array(entry["K"], np.float64).reshape(3, 3)
        turn = OPENGL_TO_OPENCV if layout.axes == "opengl" else np.eye(4)
        if "c2w" in entry:
            return K, np.linalg.inv(np.array(entry["c2w"], np.float64).reshape(4, 4) @ turn)
        return K, turn @ np.array(entry["w2c"], np.float64).reshape(4, 4)
    except (OSError, ValueError, KeyError, TypeError) as error:
        expected = f"json with K and w2c or c2w of camera {layout.camera!r}"
        raise UserError(str(file), f"{type(error).__name__}: {error}", expected, "correct the layout") from error
