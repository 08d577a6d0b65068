"""Whether a face is still the same person: cosine of ArcFace embeddings, where a model is at hand.

Faces are aligned by five points to ArcFace's template of 112x112 pixels (Deng et al. 2019) and embedded by an ONNX file
of InsightFace's model packs; `buffalo_l` brings `w600k_r50.onnx`. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import grid_sample

from talkingavatar.errors import UserError
from talkingavatar.paths import weights_root
from talkingavatar.runtime.files import sha256

FILE = "w600k_r50.onnx"
SIZE = 112  # pixels
# Both eyes, tip of the nose, corners of the mouth, as the person's right ones come first in a picture.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@dataclass(frozen=True)
class EmbedderFile:
    """An embedder's file, or why there is none to use."""

    path: Path | None
    why_skipped: str = ""

    def checksum(self) -> str:
        assert self.path is not None
        return sha256(self.path)


def find_embedder() -> EmbedderFile:
    """Looks in `$TALKINGAVATAR_WEIGHTS` and in InsightFace's own cache; onnxruntime has to be installed."""
    places = [p for p in (weights_root(), Path.home() / ".insightface" / "models" / "buffalo_l") if p]
    found = next((place / FILE for place in places if (place / FILE).is_file()), None)
    if found is None:
        return EmbedderFile(None, f"no {FILE} in {', '.join(map(str, places))}; doctor fetch=arcface gets it")
    if find_spec("onnxruntime") is None:
        return EmbedderFile(None, "onnxruntime is not installed: pip install 'talkingavatar[identity]'")
    return EmbedderFile(found)


class FaceEmbedder:
    """Embeds faces on the CPU. Not a module of any method, so never in a checkpoint."""

    def __init__(self, file: EmbedderFile) -> None:
        """
        Raises:
            UserError: the file is no ONNX model of one 3x112x112 picture.
        """
        import onnxruntime

        assert file.path is not None
        try:
            self.session = onnxruntime.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
            self.name = self.session.get_inputs()[0].name
            self._embed(np.zeros((1, 3, SIZE, SIZE), np.float32))
        except Exception as error:  # onnxruntime raises many kinds on a foreign file
            reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            expected = f"an embedder of {SIZE}x{SIZE} faces"
            raise UserError(str(file.path), reason, expected, "replace or remove it") from error

    def __call__(self, image: Float[Tensor, "H W 3"], marks: Float[ndarray, "68 2"]) -> Float32[ndarray, " D"]:
        """Unit vector of the face at these landmarks (iBUG order, pixels); values in [0, 1]."""
        face = aligned_face(image, marks)
        vector = self._embed(face.permute(2, 0, 1)[None].cpu().numpy() * 2 - 1)[0]
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def _embed(self, faces: Float32[ndarray, "1 3 112 112"]) -> Float32[ndarray, "1 D"]:
        return np.asarray(self.session.run(None, {self.name: faces.astype(np.float32)})[0], np.float32)


def aligned_face(image: Float[Tensor, "H W 3"], marks: Float[ndarray, "68 2"]) -> Float[Tensor, "112 112 3"]:
    """The face turned, scaled and moved so that its five points lie on the template's; grey outside the picture."""
    scale_turn, move = similarity(TEMPLATE, five_points(marks))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    places = np.stack([x, y], -1) @ scale_turn.T + move
    size = np.array([image.shape[1], image.shape[0]])
    grid = torch.from_numpy((places + 0.5) / size * 2 - 1).to(image)
    picture = image.permute(2, 0, 1)[None] - 0.5
    return grid_sample(picture, grid[None], align_corners=False)[0].permute(1, 2, 0) + 0.5


def five_points(marks: Float[ndarray, "68 2"]) -> Float[ndarray, "5 2"]:
    """Centres of both eyes, tip of the nose, corners of the mouth."""
    right, left = marks[36:42].mean(0), marks[42:48].mean(0)
    return np.stack([right, left, marks[30], marks[48], marks[54]]).astype(np.float64)


def similarity(
    source: Float[ndarray, "n 2"], target: Float[ndarray, "n 2"]
) -> tuple[Float[ndarray, "2 2"], Float[ndarray, " 2"]]:
    """Scaled rotation and shift that bring source points nearest to the target's (least squares)."""
    a, b = source - source.mean(0), target - target.mean(0)
    cosine, sine = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    matrix = np.array([[cosine, -sine], [sine, cosine]]) / np.square(a).sum()
    return matrix, target.mean(0) - matrix @ source.mean(0)
