"""Rounding to the formats of a checkpoint: MXFP4 for the experts, bf16 for everything else."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32
"""Inputs that share a scale."""
CODES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""What codes 0 to 7 of FP4 (E2M1) stand for; bit 3 is the sign."""
_MIDPOINTS = torch.tensor([(a + b) / 2 for a, b in zip(CODES, CODES[1:])])
_CODES = torch.tensor(CODES)
_LARGEST_EXPONENT = 2
"""floor(log2(6)): the exponent of the largest code."""


def _scale_exponents(blocks: Tensor) -> Tensor:
    """The power of two of each block: OCP's rule floor(log2(max)) - 2, one more where the largest would be clipped far.

    A largest magnitude in (7, 8) times the scale would round to 6, an error of up to a quarter; doubling the scale halves it.
    """
    largest = blocks.abs().amax(dim=-1).clamp(min=2.0**-100)
    exponent = torch.floor(torch.log2(largest)) - _LARGEST_EXPONENT
    return torch.where(largest * torch.exp2(-exponent) > 7.0, exponent + 1, exponent)


def to_mxfp4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Packs [..., rows, inputs] into blocks u8 [..., rows, inputs / 32, 16] and scales u8 [..., rows, inputs / 32]."""
    blocks = weight.detach().float().unflatten(-1, (-1, BLOCK))
    exponents = _scale_exponents(blocks)
    scaled = blocks * torch.exp2(-exponents)[..., None]
    codes = torch.bucketize(scaled.abs(), _MIDPOINTS.to(weight.device)) | ((scaled < 0).long() << 3)
    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed.to(torch.uint8), (exponents + 127).to(torch.uint8)


def fake_mxfp4(weight: Tensor) -> Tensor:
    """What `to_mxfp4` would keep of a weight."""
    blocks = weight.unflatten(-1, (-1, BLOCK))
    scale = torch.exp2(_scale_exponents(blocks))[..., None]
    scaled = blocks / scale
    rounded = _CODES.to(weight.device)[torch.bucketize(scaled.abs(), _MIDPOINTS.to(weight.device))]
    return (rounded.copysign(scaled) * scale).flatten(-2)
