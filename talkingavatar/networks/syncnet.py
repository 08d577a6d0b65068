"""SyncNet as published (Chung and Zisserman 2016; joonson/syncnet_python)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

WINDOW = 5  # frames that the lips' tower sees at once
Triple = tuple[int, int, int]


class SyncNet(nn.Module):
    """Two towers to a common space of 1024. Key names and shapes are the published file's."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64), nn.MaxPool2d((1, 1), (1, 1)),
            *_conv2d(64, 192), nn.MaxPool2d((3, 3), (1, 2)),
            *_conv2d(192, 384),
            *_conv2d(384, 256),
            *_conv2d(256, 256), nn.MaxPool2d((3, 3), (2, 2)),
            *_conv2d(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud = _head()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), 2), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(96, 256, (1, 5, 5), 2, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv3d(256, 256, (1, 3, 3), 1, 1),
            *_conv3d(256, 256, (1, 3, 3), 1, 1),
            *_conv3d(256, 256, (1, 3, 3), 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(256, 512, (1, 6, 6), 1),
        )  # fmt: skip
        self.netfclip = _head()

    def forward_audio(self, columns: Float[Tensor, "N 1 13 20"]) -> Float[Tensor, "N 1024"]:
        """Embeddings of windows of MFCC."""
        return self.netfcaud(self.netcnnaud(columns).flatten(1))

    def forward_lip(self, frames: Float[Tensor, "N 3 5 224 224"]) -> Float[Tensor, "N 1024"]:
        """Embeddings of windows of crops, BGR in 0 to 255."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))

    def forward_clip(self, frames: Float[Tensor, "N 3 T 224 224"]) -> Float[Tensor, "N T-4 1024"]:
        """The same of all windows of clips of T frames.

        Only the first convolution reaches across time, so the windows share it; they need not be copied out.
        """
        features = self.netcnnlip(frames)[..., 0, 0].transpose(1, 2)
        return self.netfclip(features.flatten(0, 1)).unflatten(0, features.shape[:2])


def _conv2d(width: int, out: int, kernel: tuple[int, int] = (3, 3), padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(width, out, kernel, padding=padding), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def _conv3d(width: int, out: int, kernel: Triple, stride: int, padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv3d(width, out, kernel, (1, stride, stride), (0, padding, padding))
    return [convolution, nn.BatchNorm3d(out), nn.ReLU(inplace=True)]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
