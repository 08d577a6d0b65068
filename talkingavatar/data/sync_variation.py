"""What SyncNet is trained on differs from what was recorded, as real clips differ from one another.

Another face, light, camera and file; another voice, room and microphone. Each change is one for all frames of a place:
nothing may move that did not, except as a detector's boxes shake.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate, pad

from talkingavatar.metrics.lipsync.crop import SIZE
from talkingavatar.metrics.lipsync.mfcc import mfcc

NODES = 5  # a side of the grid by which a face is bent
BANDS = 6  # edges, evenly spread to 8 kHz, between which a microphone's answer changes
SOME = 0.5  # share of the windows with hiss, of those from a compressed file, and of those a filter made sharp or soft


@dataclass(frozen=True)
class Variation:
    """How far at most, to both sides; nothing is changed where all are 0."""

    move: float = 0.05  # share of the side by which a crop is moved
    size: float = 0.08  # share by which it is made larger or smaller, and as much by which it is made wider
    turn: float = 4.0  # degrees by which it is turned
    bend: float = 0.005  # of the side: standard deviation of where parts of the face lie, for faces of other people
    shake: float = 0.0015  # of the side: the same of each frame's place, as detected boxes shake
    light: float = 0.35  # natural logarithm of brightness and, apart from that, of gamma
    shade: float = 0.08  # standard deviation of the light's logarithm from one part of the picture to the next
    tint: float = 0.1  # share by which each colour is stronger, and standard deviation of what it takes of others
    soft: float = 1.5  # by how much less than 1 in so many pixels was recorded before it was enlarged
    sharp: float = 0.7  # of unsharp masking
    grain: float = 0.015  # standard deviation of pixels' noise, of white
    compression: float = 70.0  # of 100, by which a JPEG's quality is below the best
    voice: float = 0.18  # natural logarithm of the length of the vocal tract
    band: float = 6.0  # decibels of each band of the microphone
    gain: float = 10.0  # decibels of loudness
    noise: float = 0.01  # highest level of added noise, in [-1, 1]; levels spread over three decades

    def scaled(self, factor: float) -> Variation:
        """Of less change; of none at 0."""
        return Variation(**{field.name: factor * getattr(self, field.name) for field in fields(self)})


def varied_frames(
    crops: Float[Tensor, "T 3 224 224"], region: tuple[int, int], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "T 3 S S"]:
    """Rows and columns `region` of the varied crops, in 0 to 255; half of them mirrored."""
    frames = grid_sample(crops, _grid(len(crops), region, variation, draw), padding_mode="border", align_corners=False)
    frames = _relit(frames / 255, variation, draw).clamp(0, 1)
    frames = _refilmed(frames, variation, draw).clamp(0, 1) * 255
    if variation.compression == 0 or draw.random() > SOME:
        return frames
    quality = round(100 - variation.compression * draw.random())
    stored = [_compressed(frame, quality) for frame in frames.round().byte().permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2).float()


def varied_sound(
    samples: Float[ndarray, " n"], variation: Variation, draw: np.random.Generator
) -> Float[ndarray, "M 13"]:
    """Cepstra of the sound as another voice, microphone and room would have given it."""
    spectrum = np.fft.rfft(samples)
    edges = np.linspace(0, 1, BANDS)
    decibels = variation.gain * draw.uniform(-1, 1) + np.interp(
        np.linspace(0, 1, len(spectrum)), edges, variation.band * draw.uniform(-1, 1, BANDS)
    )
    heard = np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples))
    # Half of the sound stays as clean as it was recorded.
    level = variation.noise * 10 ** draw.uniform(-3, 0) * (draw.random() < SOME)
    heard = (heard + level * draw.standard_normal(len(heard))).clip(-1, 1)
    return mfcc(heard, float(np.exp(variation.voice * draw.uniform(-1, 1))))


def _grid(
    frames: int, region: tuple[int, int], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "T S S 2"]:
    """Where each pixel of the region is taken from, from -1 to 1 across the crop."""
    side, middle = region[1] - region[0], (region[0] + region[1]) / SIZE - 1
    turn = np.deg2rad(variation.turn * draw.uniform(-1, 1))
    scale = (1 + variation.size * draw.uniform(-1, 1)) * side / SIZE
    wide, mirror = 1 + variation.size * draw.uniform(-1, 1), -1 if draw.random() < 0.5 else 1
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * [[mirror * wide], [1]]
    place = (middle + 2 * variation.move * draw.uniform(-1, 1, (2, 1))) * [[mirror], [1]]
    change = torch.from_numpy(np.concatenate([scale * turned, place], 1)).float()
    grid = affine_grid(change[None], [1, 3, side, side], align_corners=False)
    nodes = torch.from_numpy(2 * variation.bend * draw.standard_normal((1, 2, NODES, NODES))).float()
    bent = interpolate(nodes, size=side, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    shaken = torch.from_numpy(2 * variation.shake * draw.standard_normal((frames, 1, 1, 2))).float()
    return grid + bent + shaken


def _relit(
    frames: Float[Tensor, "T 3 S S"], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "T 3 S S"]:
    """In another light, by a camera with other colours."""
    side = frames.shape[-1]
    mixed = np.eye(3) * (1 + variation.tint * draw.uniform(-1, 1, 3)) + 0.5 * variation.tint * draw.normal(0, 1, (3, 3))
    gamma, gain = np.exp(variation.light * draw.uniform(-1, 1, 2))
    shade = torch.from_numpy(np.exp(variation.shade * draw.standard_normal((1, 1, 3, 3)))).float()
    shaded = interpolate(shade, size=side, mode="bicubic", align_corners=True)
    colours = torch.from_numpy(mixed).float() @ frames.flatten(2)
    return float(gain) * shaded * colours.clamp(0, 1).reshape(frames.shape) ** float(gamma)


def _refilmed(
    frames: Float[Tensor, "T 3 S S"], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "T 3 S S"]:
    """Enlarged from less, or sharpened; over the sensor's noise."""
    side = frames.shape[-1]
    if draw.random() < SOME:
        less = interpolate(frames, size=round(side / (1 + variation.soft * draw.random())), mode="area")
        frames = interpolate(less, size=side, mode="bilinear", align_corners=False)
    else:
        around = avg_pool2d(pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)
        frames = frames + variation.sharp * draw.random() * (frames - around)
    grain = variation.grain * draw.random()
    return frames + grain * torch.from_numpy(draw.standard_normal(frames.shape, np.float32))


def _compressed(picture: UInt8[ndarray, "S S 3"], quality: int) -> UInt8[ndarray, "S S 3"]:
    """A picture as read back from a JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
