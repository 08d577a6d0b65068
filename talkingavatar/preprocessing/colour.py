"""Decoded pictures of any colour coding to what a standard display (BT.709) shows.

What is coded for such a display is taken by ffmpeg's scaler. Wider primaries (BT.2020, P3) and high dynamic range (HLG,
PQ: ITU-R BT.2100) are brought to light, to BT.709's primaries, under diffuse white (203 cd/m2, ITU-R BT.2408) by the
curve of ITU-R BT.2390, and back to a signal (BT.1886). What lies below the curve's knee stays as it is, and the knee
depends on how bright the film gets: nothing changes in one whose peak is white. One that never exceeds white has its
own at its peak, though not below half: without a step, so that noise in the peak changes no more than it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import no_type_check

import av
import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt16
from numpy import ndarray

from talkingavatar.runtime.compiled import compiled

# ITU-T H.273 numbers, as libav's.
BT709, UNKNOWN, BT601, BT2020 = 1, 2, 5, 9  # matrices
MATRICES = {1, 4, 5, 6, 7, 9}  # that the scaler knows
UNREADABLE = {8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085", 13: "constant luminance", 14: "ICtCp",
              15: "IPT (Dolby Vision 5)", 16: "YCgCo", 17: "YCgCo"}  # fmt: skip
LINEAR, PQ, HLG, CINEMA = 8, 16, 18, 17  # transfers whose light is not that of BT.1886
WHITE = 203.0  # cd/m2 of diffuse white
FORMER = 100.0  # of films made of standard ones by what takes a display's nominal white (zimg, older practice)
DISPLAY = 2.4  # BT.1886's exponent
BRIGHTEST = {PQ: 10_000 / WHITE, HLG: 1000 / WHITE}  # of white; HLG on its nominal display
SURROUND = 1.2  # HLG's system gamma on that display
D65 = (0.3127, 0.3290)
# Chromaticities of red, green and blue: BT.709, BT.2020, P3 (cinema's and displays', taken to D65 both).
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
STEPS = 4096  # of the curve's table
PERCENTILE = 99.9  # of a picture's pixels that lie below what counts as its peak


def matrix_of(frame: av.VideoFrame) -> int:
    """The number of the matrix from RGB; where none is told, the one players take."""
    matrix, wide = int(frame.colorspace), is_wide(frame)
    if matrix in MATRICES or matrix in UNREADABLE:
        return matrix
    if wide:
        return BT2020 if int(frame.color_primaries) in (UNKNOWN, BT2020) else BT709
    return BT709 if min(frame.width, frame.height) >= 720 else BT601


def is_wide(frame: av.VideoFrame) -> bool:
    """Whether its colours or its light are not those of a standard display."""
    return int(frame.color_primaries) in PRIMARIES.keys() - {BT709} or int(frame.color_trc) in (LINEAR, PQ, HLG, CINEMA)


def is_dynamic(frame: av.VideoFrame) -> bool:
    """Whether its light may exceed a standard display's."""
    return int(frame.color_trc) in BRIGHTEST


def rgb(frame: av.VideoFrame, width: int, height: int, peak: float) -> UInt8[ndarray, "h w 3"]:
    """The picture at this size (pixels) as a display shows it; `peak` is the film's, see `brightest`."""
    matrix = matrix_of(frame)
    if not is_wide(frame):
        return frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=matrix)
    return _signal(_light_of(frame, width, height), _curve(peak), max(peak, 1.0), _codes())


def brightest(frames: Iterable[av.VideoFrame]) -> float:
    """The greatest light in these pictures, of diffuse white."""
    found = 0.0
    for frame in frames:
        scale = 160 / max(frame.width, frame.height)
        size = max(16, round(frame.width * scale)), max(16, round(frame.height * scale))
        found = max(found, float(np.percentile(_light_of(frame, *size).max(2), PERCENTILE)))
    return found


def _light_of(frame: av.VideoFrame, width: int, height: int) -> Float32[ndarray, "h w 3"]:
    """Linear, BT.709's primaries, 1 is diffuse white."""
    codes = frame.to_ndarray(format="rgb48le", width=width, height=height, src_colorspace=matrix_of(frame))
    transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
    if primaries not in PRIMARIES:
        primaries = BT2020 if transfer in (PQ, HLG) else BT709
    exponent = SURROUND - 1 if transfer == HLG else 0.0
    luminance = to_xyz(primaries)[1].astype(np.float32)
    change = np.linalg.inv(to_xyz(BT709)) @ to_xyz(primaries)
    return _light(codes, _lights(transfer), luminance, exponent, change.astype(np.float32))


@cache
def to_xyz(primaries: int) -> Float[ndarray, "3 3"]:
    """Linear RGB to CIE XYZ (SMPTE RP 177); white, D65, has a luminance of 1."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in PRIMARIES[primaries]]).T
    x, y = D65
    return columns * np.linalg.solve(columns, [x / y, 1.0, (1 - x - y) / y])


def light_of_pq(signal: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """cd/m2 of PQ's signal, 0 to 1 (BT.2100, table 4)."""
    root = np.power(signal, 32 / 2523)
    return 10_000 * np.power(np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root), 8192 / 1305)


def pq_of_light(light: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """PQ's signal of cd/m2: the inverse."""
    power = np.power(np.asarray(light) / 10_000, 1305 / 8192)
    return np.power((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


def light_of_hlg(signal: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """Scene light, 0 to 1, of HLG's signal, 0 to 1 (BT.2100, table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, np.square(signal) / 3, (np.exp((signal - c) / a) + b) / 12)


@cache
def _lights(transfer: int) -> Float32[ndarray, " n"]:
    """Light of each 16-bit code, 1 is white; of HLG, scene light scaled so that the display's makes it so."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        light = light_of_pq(signal) / WHITE
    elif transfer == HLG:
        light = light_of_hlg(signal) * BRIGHTEST[HLG] ** (1 / SURROUND)
    elif transfer == LINEAR:
        light = signal
    elif transfer == CINEMA:  # SMPTE ST 428-1
        light = np.power(signal, 2.6) * 52.37 / 48
    else:
        light = np.power(signal, DISPLAY)
    return light.astype(np.float32)


@cache
def _curve(peak: float) -> Float32[ndarray, " n"]:
    """What light up to `peak` or 1 is shown as, at even steps of its square root (BT.2390-11, 5.4.1)."""
    light = np.linspace(0, 1, STEPS) ** 2 * max(peak, 1.0)
    if peak <= 1:
        return (light / max(peak, FORMER / WHITE)).astype(np.float32)
    white, top = pq_of_light(WHITE * np.array([1.0, peak]))
    signal, white = pq_of_light(light * WHITE) / top, white / top
    knee = 1.5 * white - 0.5
    t = np.clip((signal - knee) / max(1 - knee, 1e-9), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    shown = light_of_pq(np.where(signal < knee, signal, spline) * top) / WHITE
    return np.where(signal < knee, light, shown).astype(np.float32)


@cache
def _codes() -> UInt8[ndarray, " n"]:
    """8-bit codes of light, at even steps of its square root."""
    return np.round(255 * np.power(np.linspace(0, 1, 65536), 2 / DISPLAY)).astype(np.uint8)


@no_type_check
@compiled
def _light(
    codes: UInt16[ndarray, "h w 3"],
    lights: Float32[ndarray, " n"],
    luminance: Float32[ndarray, " 3"],
    exponent: float,
    change: Float32[ndarray, "3 3"],
) -> Float32[ndarray, "h w 3"]:
    """To light, times luminance ** exponent (HLG's display), in other primaries; what these do not reach is 0."""
    height, width, _ = codes.shape
    out = np.empty((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            r, g, b = lights[codes[y, x, 0]], lights[codes[y, x, 1]], lights[codes[y, x, 2]]
            if exponent != 0.0:
                bright = luminance[0] * r + luminance[1] * g + luminance[2] * b
                gain = np.float32(max(bright, 1e-9) ** exponent)
                r, g, b = r * gain, g * gain, b * gain
            for c in range(3):
                out[y, x, c] = max(0.0, change[c, 0] * r + change[c, 1] * g + change[c, 2] * b)
    return out


@no_type_check
@compiled
def _signal(
    light: Float32[ndarray, "h w 3"], curve: Float32[ndarray, " n"], peak: float, codes: UInt8[ndarray, " m"]
) -> UInt8[ndarray, "h w 3"]:
    """Each pixel scaled so that its greatest channel follows the curve (hue stays), as display codes."""
    height, width, _ = light.shape
    last, top = curve.size - 1, codes.size - 1
    out = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            most = max(light[y, x, 0], light[y, x, 1], light[y, x, 2])
            place = min(np.sqrt(most / peak), 1.0) * last
            i = min(int(place), last - 1)
            shown = curve[i] + (place - i) * (curve[i + 1] - curve[i])
            scale = shown / most if most > 0 else 0.0
            for c in range(3):
                out[y, x, c] = codes[int(np.sqrt(min(light[y, x, c] * scale, 1.0)) * top + 0.5)]
    return out
