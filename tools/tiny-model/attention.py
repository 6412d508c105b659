"""Grouped-query attention with sinks, rotary embeddings (YaRN) and sliding windows.

Matrices are multiplied in bf16; what lies between is fused by torch.compile and computed in f32.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from layers import Bf16Linear, Shape


def yarn_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [length, head_dim / 2], with YaRN's attention factor in both. Bounds of the ramp are not rounded."""
    dims = shape.head_dim
    exponent = torch.arange(0, dims, 2, dtype=torch.float64) / dims
    base_frequency = shape.rope_theta**exponent

    def dimension(rotations: float) -> float:
        return dims * math.log(shape.original_context / (rotations * 2 * math.pi)) / (2 * math.log(shape.rope_theta))

    low, high = dimension(32.0), dimension(1.0)
    ramp = ((torch.arange(dims // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
    inverse = ramp / (shape.rope_factor * base_frequency) + (1 - ramp) / base_frequency
    angle = torch.arange(length, dtype=torch.float64)[:, None] * inverse[None, :]
    factor = 0.1 * math.log(shape.rope_factor) + 1.0
    return (angle.cos() * factor).float(), (angle.sin() * factor).float()


@torch.compile(dynamic=True)
def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding over pairs (i, i + head_dim / 2). x: [rows, heads, head_dim]; cos, sin: [rows, head_dim / 2]."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.shape = shape
        self.window = shape.sliding_window if layer % 2 == 0 else shape.max_context
        queries, keys = shape.query_heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Bf16Linear(shape.hidden, queries + 2 * keys)
        self.out = Bf16Linear(queries, shape.hidden)
        self.sinks = nn.Parameter(torch.zeros(shape.query_heads))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """x: [rows, hidden]."""
        shape = self.shape
        heads, kv_heads, dims = shape.query_heads, shape.kv_heads, shape.head_dim
        qkv = self.qkv(x).view(-1, heads + 2 * kv_heads, dims)
        rotated = rotate(qkv[:, : heads + kv_heads], layout.cos, layout.sin)
        q, k, v = (layout.padded(each) for each in (rotated[:, :heads], rotated[:, heads:], qkv[:, heads + kv_heads :]))
        return self.out(layout.unpadded(_AttentionWithSinks.apply(q, k, v, self.sinks, self.window)).flatten(1))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the rows of a batch that are no padding lie. rows: indices [rows] into batch * time; cos, sin: [rows, head_dim / 2]."""

    batch: int
    time: int
    rows: Tensor
    cos: Tensor
    sin: Tensor

    def padded(self, x: Tensor) -> Tensor:
        """[batch, heads, time, dims], zero where there is no row, of [rows, heads, dims]."""
        wide = x.new_zeros(self.batch * self.time, *x.shape[1:]).index_copy(0, self.rows, x)
        return wide.unflatten(0, (self.batch, self.time)).transpose(1, 2)

    def unpadded(self, x: Tensor) -> Tensor:
        """[rows, heads, dims] of [batch, heads, time, dims]."""
        return x.transpose(1, 2).flatten(0, 1).index_select(0, self.rows)


class _AttentionWithSinks(torch.autograd.Function):
    """softmax(q k, with a sink beside it) v as one step of the graph, with few passes over the scores.

    The sink is the score of one more key, whose value is zero.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int) -> Tensor:
        """q: [batch, heads, time, dims]; k, v: [batch, kv_heads, time, dims]; sinks: [heads]; window: keys that a query sees at most."""
        batch, heads, time, dims = q.shape
        kv_heads = k.shape[1]
        # The queries of one kv head are stacked in its rows.
        q = (q * dims**-0.5).reshape(batch, kv_heads, heads // kv_heads * time, dims)
        k, v = k.contiguous(), v.contiguous()
        scores = (q @ k.transpose(-1, -2)).view(batch, heads, time, time)
        powers, total, sunk = _softmax_with_sink(scores, sinks, window)
        o = (powers.view(batch, kv_heads, -1, time) @ v).view(batch, heads, time, dims)
        o = (o / total[..., None]).bfloat16()
        ctx.save_for_backward(q, k, v, powers, total, sunk, o)
        return o

    @staticmethod
    def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, powers, total, sunk, o = ctx.saved_tensors
        batch, heads, time, dims = do.shape
        stacked = powers.view(*q.shape[:3], time)
        mean, d_sinks, do_total = _of_outputs(do, o, total, sunk)
        dv = stacked.transpose(-1, -2) @ do_total.view(q.shape)
        dp = (do.reshape(q.shape) @ v.transpose(-1, -2)).view_as(powers)
        ds = _softmax_backward(dp, powers, mean, total).view_as(stacked)
        dq, dk = ds @ k, ds.transpose(-1, -2) @ q
        return (dq * dims**-0.5).view(batch, heads, time, dims), dk, dv, d_sinks, None


@torch.compile(dynamic=True)
def _softmax_with_sink(scores: Tensor, sinks: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """Powers of the scores [batch, heads, time, time] in bf16, their sums [batch, heads, time] and the sink's probability, alike, in f32.

    Powers are divided by their sums only after the product with the values: one pass less over what is largest.
    """
    positions = torch.arange(scores.shape[-1], device=scores.device)
    distance = positions[:, None] - positions[None, :]
    visible = (distance >= 0) & (distance < window)
    scores = torch.where(visible, scores.float(), float("-inf"))
    sinks = sinks[:, None]
    largest = torch.maximum(scores.amax(dim=-1), sinks)
    powers, sunk = (scores - largest[..., None]).exp(), (sinks - largest).exp()
    total = powers.sum(dim=-1) + sunk
    return powers.bfloat16(), total, sunk / total


@torch.compile(dynamic=True)
def _of_outputs(do: Tensor, o: Tensor, total: Tensor, sunk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of the probabilities' gradients [batch, heads, time], the sinks' gradient [heads] and do / total in bf16."""
    mean = (do.float() * o.float()).sum(dim=-1)
    return mean, -(sunk * mean).sum(dim=(0, 2)), (do.float() / total[..., None]).bfloat16().contiguous()


@torch.compile(dynamic=True)
def _softmax_backward(dp: Tensor, powers: Tensor, mean: Tensor, total: Tensor) -> Tensor:
    return (powers.float() * ((dp.float() - mean[..., None]) / total[..., None])).bfloat16()
