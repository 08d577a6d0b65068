"""Three 2D hash grids on the XY, YZ and XZ planes (as in ER-NeRF; THGS eq. 10)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import embedding

HASH_PRIME = 2654435761  # of Instant-NGP; the first coordinate's factor is 1
PLANES = ((0, 1), (1, 2), (0, 2))


class TriplaneHash(nn.Module):
    """Multi-resolution features of points in [-1, 1]^3, one feature a level and plane.

    All levels of all planes lie in one table, so that a lookup is one gather: 3 planes x L levels x 4 corners.
    """

    resolutions: Tensor
    hashed: Tensor
    sizes: Tensor
    offsets: Tensor
    axes: Tensor
    corners: Tensor

    def __init__(self, levels: int = 12, base: int = 64, finest: int = 512, log2_table: int = 14) -> None:
        super().__init__()
        growth = math.exp(math.log(finest / base) / (levels - 1))
        # Rounded up to 8 entries as in the published encoder, so that its parameter counts are met.
        resolutions = [math.ceil(base * growth**level - 1e-9) for level in range(levels)]
        dense = [(r + 1) ** 2 for r in resolutions]
        sizes = [math.ceil(min(d, 1 << log2_table) / 8) * 8 for d in dense]
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        plane = sum(sizes)
        self.register_buffer("resolutions", torch.tensor(resolutions), persistent=False)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.register_buffer(
            "hashed", torch.tensor([d > s for d, s in zip(dense, sizes, strict=True)]), persistent=False
        )
        self.register_buffer("offsets", starts + plane * torch.arange(len(PLANES))[:, None], persistent=False)
        self.register_buffer("axes", torch.tensor(PLANES).flatten(), persistent=False)
        self.register_buffer("corners", torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), persistent=False)
        self.mask = (1 << log2_table) - 1
        self.table = nn.Parameter(torch.empty(plane * len(PLANES), 1).uniform_(-1e-4, 1e-4))

    @property
    def features(self) -> int:
        """Channels of the output: planes x levels."""
        return self.offsets.numel()

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N F"]:
        if points.device.type == "cpu" and points.dtype == torch.float32 and not points.requires_grad:
            from talkingavatar.networks.cpu.triplane import Lookup

            arrays = (self.resolutions.numpy(), self.hashed.numpy(), self.offsets.numpy())
            return Lookup.apply((*arrays, self.mask, HASH_PRIME), points, self.table)
        return self.plain(points)

    def plain(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N F"]:
        """`forward` in torch's own operations, on any device; differentiable in the points as well."""
        unit = ((points + 1) / 2).clamp(0, 1)
        planes = unit.index_select(1, self.axes).unflatten(1, (len(PLANES), 2))
        position = planes[:, :, None] * self.resolutions[:, None]
        low = position.detach().floor()
        low = torch.minimum(low, (self.resolutions - 1)[:, None])
        fraction = position - low
        grid = low.long()[:, :, :, None] + self.corners
        x, y = grid.unbind(-1)
        stride = (self.resolutions + 1)[:, None]
        index = torch.where(self.hashed[:, None], (x ^ (y * HASH_PRIME)) & self.mask, x + y * stride)
        values = embedding(index + self.offsets[..., None], self.table)[..., 0]
        fx, fy = fraction.unbind(-1)
        shares = torch.stack([(1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy], -1)
        return (values * shares).sum(-1).flatten(1)
