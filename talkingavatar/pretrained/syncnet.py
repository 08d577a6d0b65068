"""Training of SyncNet: lips and sound that belong together come close, those shifted or of others are pushed apart.

The published training uses a margin on pairs drawn at random. Here each window is told from all others of the step by
InfoNCE on the same distance (each against every shift of the same speech that the step holds), so that a network of
this size learns in the few hundred steps a CPU can afford.

A second term pulls both towers to what the mouth does: the landmarks' shape of it in the five frames, turned into the
common space by a fixed basis that keeps distances. Contrast alone is at chance for hundreds of steps, in which neither
tower has anything to follow. The lips learn the shape from pictures, the sound its mean given what is heard.

Its lips' tower would spend most of its work on what is not the mouth. Here it looks at the middle of the crops alone:
of the last convolution's 6 x 6 cells at 2 x 2, and around each cell at nothing more (kernels of 3 x 3 whose middle
alone is not zero). So a middle of 107 pixels, trained by itself, gives what the file gives of whole crops, at a fifth
of the work; and hair, clothes and what stands behind are not seen.

Nor is what stands still: the first layer's kernels have no mean over their five frames. Lips go with a sound by how
they move; whose they are would only set unseen faces apart from every sound.
"""

from __future__ import annotations

from typing import Any, final

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv3d, max_pool3d
from torch.optim import AdamW

from talkingavatar.config.family_options import SyncNet as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.sync_batches import SyncBatch
from talkingavatar.errors import UserError
from talkingavatar.losses import anchored, sync_contrast
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.networks.syncnet import WINDOW, SyncNet
from talkingavatar.training.precision import reduced
from talkingavatar.training.schedule import of_one_group
from talkingavatar.training.terms import NONE, Scalars, weighted

# Rows and columns of the lips' kernels, by their place in the tower, that look at `sync_batches.MIDDLE`; the rest is 0.
SEEING = {8: slice(1, 2), 11: slice(1, 2), 14: slice(1, 2), 18: slice(2, 4)}
SPREAD = 2.0  # of the common space for each unit of a mouth's shape: distances like those of the published weights
UNRELATED = 15.0  # how far the published weights put lips and sound apart that do not belong together: MD + Conf
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

    def _lips(self, windows: Float[Tensor, "N 3 5 107 107"]) -> Float[Tensor, "N 1024"]:
        """Embeddings of whole crops, of their middle alone: without what borders would add."""
        seen = windows
        for place, layer in enumerate(self.network.netcnnlip):
            if isinstance(layer, nn.Conv3d):
                kept = SEEING.get(place, slice(None))
                seen = conv3d(seen, layer.weight[..., kept, kept], layer.bias, layer.stride)
            elif isinstance(layer, nn.MaxPool3d):
                seen = max_pool3d(seen, layer.kernel_size, layer.stride)
            else:
                seen = layer(seen)
        return self.network.netfclip(seen.flatten(1))

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

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        _unseeing(self.network)  # before any checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            RuntimeError: the loss is not finite: that is not to be continued.
        """
        self.scalars.read()

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.parameters(), lr=self.schedule.lr, weight_decay=self.options.weight_decay, fused=True)


def calibrated(state: dict[str, Tensor], unrelated: float) -> dict[str, Tensor]:
    """Weights whose distances are in the unit of the published ones, which are `unrelated` apart on average now.

    MD and Conf are in the unit of the embeddings, and a loss may make that what it likes. In THGS's table 4 the
    published weights' MD + Conf, the median over the shifts, is 14 to 16 in every row, whoever speaks and however well.
    """
    last = [f"{head}.3.{kind}" for head in ("netfcaud", "netfclip") for kind in ("weight", "bias")]
    return state | {name: state[name] * (UNRELATED / unrelated) for name in last}


def unrelated(apart: Float[Tensor, "N N"], batch: SyncBatch) -> float:
    """Mean distance of lips to the sound of other places of their clip."""
    return float(apart[(batch.apart != ELSEWHERE) & (batch.apart.abs() >= WINDOW)].mean())


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
    """A start that looks at the mouth and at what moves."""
    _unseeing(network)
    for place, kept in SEEING.items():
        layer = network.netcnnlip[place]
        assert isinstance(layer, nn.Conv3d)
        seeing = layer.weight[..., kept, kept].clone()
        # Nine times fewer inputs: as strong as torch's own start would be for a kernel of this size.
        layer.weight.zero_()[..., kept, kept] = 3 * seeing


@torch.no_grad()
def _unseeing(network: SyncNet) -> None:
    """Blind to what is the same in all five frames."""
    first = network.netcnnlip[0]
    assert isinstance(first, nn.Conv3d)
    first.weight -= first.weight.mean(2, keepdim=True)
