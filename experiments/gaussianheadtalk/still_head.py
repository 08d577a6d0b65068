"""What the sound moves of a head held still: python experiments/gaussianheadtalk/still_head.py runs/rigged runs/free

Prints the standard deviation of colours (0-255) over held-out frames in the upper part of the picture, far from the
mouth. All but the sound, and what a run's driver makes of it, stays as in the first of these frames.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from talkingavatar.engine.driver import heard_of
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.types import DrivingSignal

FRAMES, UPPER = 50, 0.42  # of the clip's held-out part; share of the picture's height


@torch.no_grad()
def unsteadiness(trained: FittedRun) -> float:
    """Mean over the upper part's pixels and channels."""
    data, method, driver = trained.data, trained.method, trained.driver
    frames = data.capture.test_frames[:FRAMES]
    still, camera = data.signal(frames[:1]).pose, data.capture.cameras(frames[:1])
    # The same pose in every frame, with what is foretold of each from its sound.
    poses = still[torch.zeros(len(frames), dtype=torch.long)]
    signal = DrivingSignal(torch.full((len(frames),), -1), poses, data.windows[frames])
    if driver is not None:
        signal = driver.foretell(signal, heard_of(data, frames))
    pictures = []
    for i in range(len(frames)):
        gaussians = method.drive(signal[i : i + 1].to(method.device))
        rgb = method.render(gaussians, camera.to(method.device)).rgb[0]
        pictures.append(rgb[: int(UPPER * len(rgb))].cpu())
    return float(255 * torch.stack(pictures).std(0).mean())


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        print(f"{folder}: {unsteadiness(load_run(Path(folder))):.4f}")
