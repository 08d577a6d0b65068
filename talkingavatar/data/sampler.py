"""Which frames a step sees: a function of the seed and the step alone, so that resuming repeats and skips nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.types import pinned

Item = TypeVar("Item")


def frames_of_step(
    frames: Sequence[int], seed: int, step: int, batch_size: int = 1, shares: Float[ndarray, " F"] | None = None
) -> list[int]:
    """The frames of one step. Every frame is drawn once before any is drawn again, in an order of its own each time.

    Args:
        shares: of all draws that each frame gets, in sum 1; of as many draws as there are frames each has as many as
            its share asks for, rounded up or down by chance. None: all alike.
    """
    return [_draw(frames, seed, step * batch_size + i, shares) for i in range(batch_size)]


def background_of_step(seed: int, step: int) -> Float[Tensor, " 3"]:
    """A colour of its own for each step: before it, Gaussians of the background's colour cannot hide."""
    return torch.from_numpy(np.random.default_rng([seed, step, 1]).random(3, np.float32))


def _draw(frames: Sequence[int], seed: int, count: int, shares: Float[ndarray, " F"] | None) -> int:
    epoch, position = divmod(count, len(frames))
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(frames))
    if shares is not None:
        # Systematic: the cumulated shares are read at even distances.
        places = (np.arange(len(frames)) + rng.random()) / len(frames)
        order = np.searchsorted(np.cumsum(shares)[:-1], places, side="right")[order]
    return frames[order[position]]


class StepLoader(Generic[Item]):
    """An iterable of one item a step; its state is the next step."""

    def __init__(self, load: Callable[[int], Item], steps: int, pin: bool = False) -> None:
        """`load(step)` makes the item of a step; `steps` is the length of the run; `pin`: a GPU will read the items."""
        self.load, self.steps, self.pin, self.next_step = load, steps, pin, 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Item]:
        while self.next_step < self.steps:
            step = self.next_step
            self.next_step += 1
            item = self.load(step)
            yield pinned(item) if self.pin else item

    def state_dict(self) -> dict[str, Any]:
        return {"next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next_step = state["next_step"]
