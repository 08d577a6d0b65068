"""Networks in bfloat16 where a run asks for it; all else stays in float32: vertices and pixels need its digits."""

from contextlib import AbstractContextManager, nullcontext

import torch

from talkingavatar.config.schema import TrainerConfig


def reduced(trainer: TrainerConfig, device: torch.device) -> AbstractContextManager[object]:
    """A context for the forward pass of a network; what comes out of it is to be made float32 again."""
    return torch.autocast(device.type, torch.bfloat16) if trainer.precision == "bf16" else nullcontext()
