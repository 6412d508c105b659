"""What attention and experts build on: the sizes, the norm, the linear layer in bf16."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RMS_NORM_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a model. `hidden` and `intermediate` are multiples of 32, the block of MXFP4."""

    vocab: int
    layers: int = 6
    hidden: int = 128
    intermediate: int = 64
    experts: int = 16
    experts_per_token: int = 4
    query_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    sliding_window: int = 128
    rope_theta: float = 10_000.0
    rope_factor: float = 8.0
    original_context: int = 512

    @property
    def max_context(self) -> int:
        return int(self.original_context * self.rope_factor)


@torch.compile(dynamic=True)
def _normed(x: Tensor, weight: Tensor) -> Tensor:
    """[rows, size] in bf16 of [rows, size] in f32."""
    return (x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + RMS_NORM_EPS) * weight).bfloat16()


class RmsNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return _normed(x, self.weight)


class Bf16Linear(nn.Linear):
    """A linear layer in bf16 whose weights and their gradients are kept in f32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.bfloat16()
        return F.linear(x, self.weight.bfloat16(), bias)
