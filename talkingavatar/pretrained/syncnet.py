"""Training of SyncNet: lips and sound that belong together come close, those shifted or of others are pushed apart.

The published training uses a margin on pairs drawn at random. Here each window is told from all others of the step by
InfoNCE on the same distance (each against every shift of the same speech that the step holds), so that a network of
this size learns in the few hundred steps a CPU can afford.

A second term pulls both towers to what the mouth does: the landmarks' shape of it in the five frames, turned into the
common space by a fixed basis that keeps distances. Contrast alone is at chance for hundreds of steps, in which neither
tower has anything to follow. The lips learn the shape from pictures, the sound its mean given what is heard.

Its lips' tower spends most of its work on what is not the mouth. Convolutions do not mind: the first steps see the
middle 96 pixels of the crops, through the middle 2 x 2 cells of the last convolution's 6 x 6, at a sixth of the work.
Its other cells start at zero, and the last steps train the whole on whole crops.
"""

from __future__ import annotations

from typing import Any, final

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv3d
from torch.optim import AdamW

from talkingavatar.config.family_options import SyncNet as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.sync_batches import SyncBatch
from talkingavatar.errors import UserError
from talkingavatar.losses import anchored, sync_contrast
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.metrics.lipsync.crop import SIZE
from talkingavatar.networks.syncnet import WINDOW, SyncNet
from talkingavatar.training.precision import reduced
from talkingavatar.training.schedule import of_one_group
from talkingavatar.training.terms import NONE, Scalars, weighted

CELLS = slice(2, 4)  # of the last convolution's kernel, that look at `sync_batches.MIDDLE`
SPREAD = 2.0  # of the common space for each unit of a mouth's shape: distances like those of the published weights
TERMS = ROWS["pretrained"]["syncnet"].terms
FIELD = "pretrained.options"
GROUP = "network"  # the one row of the schedule table


def checked_options(given: dict[str, Any]) -> Options:
    """Options from configuration.

    Raises:
        UserError: an unknown name or a value of the wrong type or size.
    """
    options = read_options(Options(), given, FIELD)
    for name in ("places", "windows", "reach"):
        if getattr(options, name) < 1:
            raise UserError(f"{FIELD}.{name}", str(getattr(options, name)), "at least 1", "raise it")
    if not 0 <= options.middle_share <= 1:
        raise UserError(f"{FIELD}.middle_share", str(options.middle_share), "between 0 and 1", "correct it")
    if options.reach < options.windows:
        found = f"{options.windows} windows within {options.reach} frames"
        raise UserError(f"{FIELD}.reach", found, "at least a frame a window", "raise it")
    if options.places * options.windows < 2:
        raise UserError(f"{FIELD}.windows", "one window a step", "two to compare", "raise it")
    return options


@final
class SyncNetTraining(L.LightningModule):
    """One step trains all pairs of a batch's windows."""

    basis: Tensor

    def __init__(self, config: FitConfig) -> None:
        """
        Raises:
            UserError: a mistake in the options or the schedule.
        """
        super().__init__()
        self.config = config
        self.options = checked_options(config.pretrained.options)
        self.steps = config.budget.steps
        self.middle_steps = int(self.steps * self.options.middle_share)
        self.schedule = of_one_group(
            config.pretrained.schedule, "pretrained.schedule", GROUP, config.budget, config.budget.steps
        )
        terms = config.pretrained.terms
        if set(terms) != set(TERMS):
            raise UserError("pretrained.terms", ", ".join(terms) or "none", ", ".join(TERMS), "give all of them")
        self.scalars = NONE  # of the last step, for whoever logs
        torch.manual_seed(config.seed)
        self.network = SyncNet()
        directions = torch.linalg.qr(torch.randn(1024, 4 * WINDOW)).Q.T
        self.register_buffer("basis", SPREAD * directions, persistent=False)
        _prepare(self.network)

    def embed(self, batch: SyncBatch) -> tuple[Float[Tensor, "N 1024"], Float[Tensor, "N 1024"]]:
        """Lips and sound of each window."""
        with reduced(self.config.trainer, batch.lips.device):
            lips, sound = self._lips(batch.lips), self.network.forward_audio(batch.audio)
        return lips.float(), sound.float()

    def terms(
        self, lips: Float[Tensor, "N 1024"], sound: Float[Tensor, "N 1024"], batch: SyncBatch
    ) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the loss table."""
        contrast = sync_contrast(distances(lips, sound), batch.apart)
        anchor = [anchored(side, batch.mouth, self.basis) for side in (lips, sound)]
        return dict(zip(TERMS, (contrast, *anchor), strict=True))

    def _lips(self, windows: Float[Tensor, "N 3 5 S S"]) -> Float[Tensor, "N 1024"]:
        """Embeddings of whole crops, or of their middle alone."""
        network = self.network
        if windows.shape[-1] == SIZE:
            return network.forward_lip(windows)
        last = network.netcnnlip[18]
        assert isinstance(last, torch.nn.Conv3d)
        cells = network.netcnnlip[:18](windows)
        seen = conv3d(cells, last.weight[..., CELLS, CELLS], last.bias)
        return network.netfclip(network.netcnnlip[19:](seen).flatten(1))

    def training_step(self, batch: SyncBatch, batch_idx: int) -> Float[Tensor, ""]:
        lips, sound = self.embed(batch)
        values = {name: v.mean() for name, v in self.terms(lips, sound, batch).items() if len(v)}
        total, losses = weighted(values, self.config.pretrained.terms, self.global_step)
        share = accuracy(distances(lips.detach(), sound.detach()), batch)
        tensor = torch.cat([share[None], losses.tensor])
        self.scalars = Scalars(("train/accuracy", *losses.names), tensor, self.global_step)
        return total

    def on_train_batch_start(self, batch: SyncBatch, batch_idx: int) -> None:
        rate = self.schedule.rate(self.global_step)
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, AdamW)
        for group in optimiser.param_groups:
            group["lr"] = rate

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            RuntimeError: the loss is not finite: that is not to be continued.
        """
        self.scalars.read()

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.parameters(), lr=self.schedule.lr, weight_decay=self.options.weight_decay, fused=True)


def distances(lips: Float[Tensor, "N D"], sound: Float[Tensor, "N D"]) -> Float[Tensor, "N N"]:
    """Published distance of each window's lips to each window's sound."""
    return (lips[:, None] - sound + 1e-6).norm(dim=-1)


def accuracy(apart: Float[Tensor, "N N"], batch: SyncBatch) -> Float[Tensor, ""]:
    """Share of windows of lips whose nearest sound, of those of their clip, is at most a frame from their own."""
    rows = torch.arange(len(apart), device=apart.device)
    nearest = apart.masked_fill(batch.apart == ELSEWHERE, torch.inf).argmin(1)
    return (batch.apart[rows, nearest].abs() <= 1).float().mean()


@torch.no_grad()
def _prepare(network: SyncNet) -> None:
    """A start that looks at the mouth and at what moves: what stands still would drown it."""
    first, last = network.netcnnlip[0], network.netcnnlip[18]
    assert isinstance(first, torch.nn.Conv3d) and isinstance(last, torch.nn.Conv3d)
    first.weight[::2] -= first.weight[::2].mean(2, keepdim=True)
    kept = last.weight[..., CELLS, CELLS].clone()
    # Nine times fewer inputs: as strong as torch's own start would be for a kernel of this size.
    last.weight.zero_()[..., CELLS, CELLS] = 3 * kept
