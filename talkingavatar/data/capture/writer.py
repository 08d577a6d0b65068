"""The one writer of captures: what is recorded, tracked or imported goes through it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture.manifest import FRONT, Manifest
from talkingavatar.data.capture.reader import RATE, Model
from talkingavatar.data.capture.tables import PARAMETERS, REGIONS, Table
from talkingavatar.runtime.files import whole


class CaptureWriter:
    """Fills a folder with a capture, part by part; `finish` writes the manifest, without which it is none."""

    def __init__(self, folder: Path, views: Sequence[str] = (FRONT,)) -> None:
        self.folder = folder
        for kind in ("frames", "mattes"):
            for view in views:
                (folder / kind / view).mkdir(parents=True, exist_ok=True)

    def picture(
        self, index: int, frame: UInt8[ndarray, "H W 3"], matte: UInt8[ndarray, "H W"], view: str = FRONT
    ) -> None:
        """One frame, composited on the background, and its matte; each is whole or not there."""
        for kind, pixels in {"mattes": matte, "frames": frame}.items():  # a frame has its matte
            file = self.folder / kind / view / f"{index:06d}.png"
            temporary = file.with_suffix(f".{os.getpid()}.tmp")  # other processes may draw the same
            Image.fromarray(pixels).save(temporary, "PNG", compress_level=1)
            temporary.replace(file)

    def confidence(self, index: int, values: UInt8[ndarray, "H W"], view: str = FRONT) -> None:
        """How far each pixel of a frame may be believed, of frames that were made and not filmed: 255 is fully."""
        file = self.folder / "confidence" / view / f"{index:06d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file, durable=False) as temporary:
            Image.fromarray(values).save(temporary, "PNG", compress_level=1)

    def link_confidence(self, index: int, values: Path, view: str = FRONT) -> None:
        """The same of a file that is there already."""
        name = f"confidence/{view}/{index:06d}.png"
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        self.link(values, name)

    def link_picture(self, index: int, frame: Path, matte: Path, view: str = FRONT) -> None:
        """The same of files that are there already: linked, not copied, where the disk can."""
        for kind, source in {"frames": frame, "mattes": matte}.items():
            self.link(source, f"{kind}/{view}/{index:06d}.png")

    def link(self, source: Path, name: str) -> None:
        """A file that is there already, under a name of the capture."""
        target = self.folder / name
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:  # this disk has no hard links
            shutil.copyfile(source, target)

    def sound(self, samples: Float[ndarray, " N"]) -> None:
        """16 kHz mono, as long as the frames."""
        soundfile.write(self.folder / "audio.flac", np.clip(samples, -1, 1), RATE)

    def cameras(self, viewmats: Float[ndarray, "V #C 4 4"], Ks: Float[ndarray, "V #C 3 3"]) -> None:
        """A row a view, in the manifest's order; 1 or T cameras of each: world to camera, OpenCV axes; pixels."""
        np.savez(self.folder / "cameras.npz", viewmats=viewmats, Ks=Ks)

    def parameters(self, model: Model, table: Mapping[str, ndarray], names: Sequence[str], truth: bool = False) -> None:
        """betas (S), expression (T,E) with its names, full_pose (T,J,3), transl (T,3), and what else is known."""
        assert set(PARAMETERS) <= set(table), f"{', '.join(PARAMETERS)} make a body's table"
        arrays = {key: np.asarray(values, np.float32) for key, values in table.items()}
        np.savez(self._place(truth) / f"{model}.npz", allow_pickle=False, **arrays, expression_names=np.array(names))

    def landmarks(self, points: Shaped[ndarray, "T 68 3"], truth: bool = False) -> None:
        """In the first view: x, y in pixels, confidence."""
        np.savez(self._place(truth) / "landmarks.npz", points=points)

    def regions(self, boxes: Mapping[str, Float[ndarray, "T 4"]]) -> None:
        """Boxes in the first view, pixels, of each of `REGIONS`; NaN where not seen."""
        assert set(boxes) == set(REGIONS), f"boxes of {', '.join(REGIONS)}"
        np.savez(self.folder / "regions.npz", allow_pickle=False, **boxes)

    def table(self, name: str, table: Table, truth: bool = False) -> None:
        """Named values of every frame, to be read by `Capture.table(name)`."""
        table.save(self._place(truth) / f"{name}.npz")

    def finish(self, manifest: Manifest) -> None:
        """The manifest, last: half of a capture is never read."""
        manifest.write(self.folder)

    def _place(self, truth: bool) -> Path:
        folder = self.folder / "truth" if truth else self.folder
        folder.mkdir(exist_ok=True)
        return folder
