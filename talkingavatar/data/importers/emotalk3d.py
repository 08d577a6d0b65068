"""EmoTalk3D, whose layout is not described in public: a YAML of path templates says where things lie.

```yaml
subject: "0048"                 # fills {subject} in the templates
sequences: ["2-00-01"]          # fill {sequence}: emotion-intensity-sentence; may be left out: all that there are
camera: "cam_05"                # the first view; may be left out: the first in `cameras`
fps: 30
first: 0                        # number of a sequence's first frame; frames are read as long as there are pictures
images: "{subject}/{sequence}/images/{camera}/{frame:06d}.jpg"
masks: "{subject}/{sequence}/masks/{camera}/{frame:06d}.png"    # may be left out: everything is the subject
cameras: "{subject}/cameras.json"                               # {camera: {K: 3x3, w2c: 4x4 or c2w: 4x4}}
axes: opencv                    # or opengl
audio: "{subject}/audio/{sequence}.wav"
meshes: "{subject}/{sequence}/meshes/{frame:06d}.obj"           # noted, not read
flame: "{subject}/{sequence}/flame/{frame:06d}.npz"             # may be left out
emotions: {"2": "happy"}        # names of the sequences' first numbers; may be left out
intensities: {"00": 0.45}       # 0 to 1, of their second numbers; may be left out: what one means is not published
```

A subject's sequences become shots of one capture, all cameras its views. A sentence is held out in every emotion.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.audio.reading import read_sound
from talkingavatar.config.names import suggestion
from talkingavatar.config.yaml_file import read_yaml
from talkingavatar.data.capture import RATE, Model, Table
from talkingavatar.data.importers.cameras import OPENGL_TO_OPENCV, over_shots, rigid
from talkingavatar.data.importers.clip import (
    COMPLETE,
    Coverage,
    ImportedClip,
    Options,
    Picture,
    held_out_views,
    joined_sound,
    read_npz,
    read_picture,
    sentence_split,
    shots_of,
)
from talkingavatar.data.importers.flame import flame_table
from talkingavatar.data.matte_values import Values, read_matte, survey_files
from talkingavatar.data.stated import Stated, read_json
from talkingavatar.errors import UserError


@dataclass(frozen=True)
class Layout:
    """What the YAML says; templates are relative to the dataset's folder."""

    images: str
    cameras: str
    audio: str
    subject: str = ""
    sequences: list[str] = field(default_factory=list)
    camera: str = ""
    fps: float = 30.0
    first: int = 0
    masks: str | None = None
    meshes: str | None = None
    flame: str | None = None
    emotions: dict[str, str] = field(default_factory=dict)
    intensities: dict[str, float] = field(default_factory=dict)
    axes: str = "opencv"

    def path(self, root: Path, template: str, sequence: str, camera: str = "", frame: int = 0) -> Path:
        """A template filled in; `frame` counts from 0.

        Raises:
            UserError: it names a field that there is not.
        """
        number = self.first + frame
        try:
            filled = template.format(subject=self.subject, sequence=sequence, camera=camera, frame=number)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            expected = "{subject}, {sequence}, {camera}, {frame:06d}"
            raise UserError("layout", f"{template!r} ({error})", expected, "correct the template") from error
        return root / filled.lstrip("/")  # of a subject without a name


@dataclass(frozen=True)
class Sequence:
    """One sentence, spoken with one emotion."""

    name: str
    frames: int

    @property
    def numbers(self) -> list[str]:
        """Emotion, intensity, sentence; empty where the name does not tell."""
        return [*self.name.split("-"), "", "", ""][:3]


def read_emotalk3d(options: Options) -> ImportedClip:
    """A subject's sequences, seen by all cameras.

    Raises:
        UserError: no layout or a mistake in it, or a file that it names is missing.
    """
    root, layout = options.path, _layout(options)
    names = _sequences(root, layout)
    calibrations = [_read_cameras(layout.path(root, layout.cameras, name)) for name in names]
    views = _views(root, layout, names, calibrations[0].names())
    sequences = [Sequence(name, _length(root, layout, name, views)) for name in names]
    lengths = [sequence.frames for sequence in sequences]
    shots, places = shots_of(lengths), [(s.name, i) for s in sequences for i in range(s.frames)]
    seen = [[_camera(calibration, view, layout) for view in views] for calibration in calibrations]

    values = _mask_values(root, layout, places, views[0])

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        sequence, frame = places[index]
        image = read_picture(layout.path(root, layout.images, sequence, view, frame))
        if layout.masks is None:
            return image, np.full(image.shape[:2], 255, np.uint8)
        return image, read_matte(layout.path(root, layout.masks, sequence, view, frame), values, COMPLETE)

    return ImportedClip(
        name=options.name or "-".join([layout.subject or root.name, *(names if len(names) == 1 else [])]),
        fps=layout.fps,
        frames=len(places),
        picture=picture,
        sound=joined_sound(_sounds(root, layout, names, options), shots, layout.fps),
        viewmats=over_shots(np.array([[viewmat for _, viewmat in row] for row in seen]), lengths),
        Ks=over_shots(np.array([[K for K, _ in row] for row in seen]), lengths),
        split=sentence_split(options, shots, _sentences(sequences)),
        views=views,
        test_views=held_out_views(options, views),
        parameters=_flame(root, layout, places),
        shots=shots,
        tables={"emotion": _emotion_table(sequences, layout)},
        warnings=_guessed(sequences, layout),
        provenance={
            "format": "emotalk3d",
            "source": str(root),
            "layout": vars(layout),
            "sequences": {s.name: dict(zip(("emotion", "intensity", "sentence"), s.numbers, strict=True))
                          for s in sequences},
        },
    )  # fmt: skip


def _sentences(sequences: list[Sequence]) -> list[str]:
    """What is said in each: its last number, or where that does not tell them apart the whole name."""
    numbers = [sequence.numbers[2] for sequence in sequences]
    return numbers if len(set(numbers)) > 1 else [sequence.name for sequence in sequences]


def _emotion_table(sequences: list[Sequence], layout: Layout) -> Table:
    """A column for each emotion: its intensity in the frames spoken with it, 1 where the layout does not tell."""
    felt = [layout.emotions.get(s.numbers[0], s.numbers[0] or "unknown") for s in sequences]
    names = sorted(set(felt))
    rows = np.eye(len(names), dtype=np.float32)[[names.index(emotion) for emotion in felt]]
    rows *= np.array([[layout.intensities.get(s.numbers[1], 1.0)] for s in sequences], np.float32)
    return Table(names, np.repeat(rows, [s.frames for s in sequences], axis=0))


def _guessed(sequences: list[Sequence], layout: Layout) -> list[str]:
    """What the labels are taken to mean, where the layout does not tell."""
    emotions = sorted({s.numbers[0] for s in sequences} - layout.emotions.keys() - {""})
    intensities = sorted({s.numbers[1] for s in sequences} - layout.intensities.keys() - {""})
    told = []
    if emotions:
        told.append(f"emotions {', '.join(emotions)}: no names in the layout; they are called by their numbers")
    if intensities:
        told.append(f"intensities {', '.join(intensities)}: no strengths in the layout; taken as 1")
    return told


def _flame(root: Path, layout: Layout, places: list[tuple[str, int]]) -> dict[Model, dict[str, ndarray]]:
    if layout.flame is None:
        return {}
    files = [layout.path(root, layout.flame, sequence, frame=frame) for sequence, frame in places]
    return {"flame": flame_table([read_npz(file) for file in files], [str(file) for file in files])}


def _sounds(root: Path, layout: Layout, names: list[str], options: Options) -> list[Float[ndarray, "..."]]:
    if options.audio is None:
        return [read_sound(layout.path(root, layout.audio, name), RATE) for name in names]
    if len(names) > 1:
        raise UserError("audio", f"one sound for {len(names)} sequences", "one sequence", "give sequence=<name>")
    return [read_sound(options.audio, RATE)]


def _mask_values(root: Path, layout: Layout, places: list[tuple[str, int]], view: str) -> Values:
    """How the masks are meant, by some of one view's."""
    if layout.masks is None:
        return Values()
    return survey_files(
        [layout.path(root, layout.masks, name, view, i) for name, i in places], f"{root}: masks", COMPLETE
    )


def _layout(options: Options) -> Layout:
    if options.layout is None:
        raise UserError("layout", "nothing", "a YAML with path templates", "give layout=<file> (see --help)")
    content = read_yaml(options.layout, "a layout with path templates")
    stated = Stated(f"layout: {options.layout}", content, "correct it")
    known = [f.name for f in fields(Layout)]
    if unknown := [name for name in stated.names() if name not in known]:
        raise UserError("layout", f"{options.layout}: {unknown[0]}", ", ".join(known), suggestion(unknown[0], known))
    given: dict[str, Any] = {name: _typed(stated.of(name), name) for name in known if stated.has(name)}
    sequences = None if options.sequence is None else options.sequence.split(",")
    told = {"sequences": sequences, "camera": options.camera, "fps": options.fps}
    given |= {key: value for key, value in told.items() if value is not None}
    if lacking := [name for name in ("images", "cameras", "audio") if name not in given]:
        raise UserError("layout", f"{options.layout}: no {lacking[0]}", "images, cameras, audio", "name it")
    layout = Layout(**given)
    if layout.axes not in ("opencv", "opengl"):
        raise UserError("layout.axes", layout.axes, "opencv or opengl", "correct it")
    return layout


def _typed(stated: Stated, name: str) -> Any:
    """A field of the layout; names that look like numbers are texts."""
    if name == "sequences":
        return [_name(entry) for entry in stated.entries()]
    if name == "emotions":
        stated.names()
        return {str(key): _name(replace(stated, value=value)) for key, value in stated.value.items()}
    if name == "intensities":
        stated.names()
        return {str(key): replace(stated, value=value).number(0, 1) for key, value in stated.value.items()}
    if name == "fps":
        return stated.number(1, 1000)
    return stated.whole(0) if name == "first" else _name(stated)


def _name(stated: Stated) -> str:
    return str(stated.whole()) if isinstance(stated.value, int) else stated.text()


def _sequences(root: Path, layout: Layout) -> list[str]:
    """Those that are named, else the folders with pictures where the template of `images` has {sequence}."""
    parts = Path(layout.images).parts
    if layout.sequences or "{sequence" not in layout.images:
        return layout.sequences or [""]
    if "{sequence}" not in parts:
        raise UserError("layout.sequences", "nothing", "names: no folder is one", "name them")
    above = layout.path(root, str(Path(*parts[: parts.index("{sequence}")])), "")
    folders = sorted(folder.name for folder in above.glob("*"))
    patterns = {name: str(layout.path(Path(), layout.images, name, layout.camera or "*")) for name in folders}
    names = [name for name, pattern in patterns.items() if any(root.glob(pattern))]
    if not names:
        found = layout.path(root, layout.images, "*", layout.camera or "*")
        raise UserError("layout.images", f"no {found}", "pictures", "correct the template")
    return names


def _views(root: Path, layout: Layout, names: list[str], cameras: list[str]) -> list[str]:
    """The first view, and every other camera that saw all sequences."""
    first = layout.camera or cameras[0]
    seen = [c for c in cameras if all(layout.path(root, layout.images, name, c).is_file() for name in names)]
    return [first, *(camera for camera in seen if camera != first)]


def _length(root: Path, layout: Layout, sequence: str, views: list[str]) -> int:
    """Frames of a sequence, as many by every view.

    Raises:
        UserError: a view has more of them, or fewer.
    """
    counts = {view: _count(root, layout, sequence, view) for view in views}
    first = counts[views[0]]
    if other := [view for view in views if counts[view] != first]:
        found = f"{counts[other[0]]} pictures of {sequence} by {other[0]}"
        expected = f"{first}, as by {views[0]}"
        raise UserError("layout.images", found, expected, "complete it, or take the camera out of the cameras' file")
    return first


def _count(root: Path, layout: Layout, sequence: str, camera: str) -> int:
    if "{frame" not in layout.images:
        raise UserError("layout.images", layout.images, "a template with {frame:06d}", "correct it")
    count = 0
    while layout.path(root, layout.images, sequence, camera, count).is_file():
        count += 1
    if count < 2:
        first = layout.path(root, layout.images, sequence, camera, count)
        raise UserError("layout.images", f"{count} pictures; no {first}", "a sequence of them", "correct the template")
    return count


def _read_cameras(file: Path) -> Stated:
    stated = Stated(str(file), read_json(file, "correct the layout"), "correct the layout")
    if not stated.names():
        raise stated.wrong("cameras by name")
    return stated


def _camera(cameras: Stated, name: str, layout: Layout) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
    entry = cameras.of(name)
    turn = OPENGL_TO_OPENCV if layout.axes == "opengl" else np.eye(4)
    K, key = entry.of("K").matrix((3, 3)), "c2w" if entry.has("c2w") else "w2c"
    pose = rigid(entry.of(key))
    return K, np.linalg.inv(pose @ turn) if key == "c2w" else turn @ pose
