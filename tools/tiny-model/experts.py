"""The mixture of experts: SwiGLU with clamp, top-k routing over the chosen experts' logits.

Matrices are multiplied in bf16; what lies between is fused by torch.compile and computed in f32.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from layers import Shape

SWIGLU_ALPHA = 1.702
SWIGLU_LIMIT = 7.0
_ROWS_STEP = 64
"""The copies of rows for an expert are made up to a multiple."""


class Experts(nn.Module):
    """The mixture of experts of one layer. Rows of gate and up alternate, as in the released checkpoints."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        e, h, i = shape.experts, shape.hidden, shape.intermediate
        self.router = nn.Linear(h, e)
        self.gate_up = nn.Parameter(torch.randn(e, 2 * i, h) * h**-0.5)
        self.gate_up_bias = nn.Parameter(torch.zeros(e, 2 * i))
        self.down = nn.Parameter(torch.randn(e, h, i) * i**-0.5 / math.sqrt(2 * shape.layers))
        self.down_bias = nn.Parameter(torch.zeros(e, h))

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x: [rows, hidden] in bf16; returns [rows, hidden] in f32."""
        logits = self.router(x.float())
        chosen_logits, chosen = logits.topk(self.shape.experts_per_token, dim=-1)
        weights = chosen_logits.softmax(dim=-1)
        y = _ChosenExperts.apply(x, weights, chosen, self.gate_up, self.gate_up_bias, self.down, self.down_bias)
        return y, Routing.of(logits, chosen)


class _ChosenExperts(torch.autograd.Function):
    """The weighted sum of down(swiglu(gate_up(x))) over the chosen experts, as one step of the graph: much less time on a CPU
    than with sixteen small graphs per layer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, gate_up_bias: Tensor, down: Tensor, down_bias: Tensor
    ) -> Tensor:
        """x: [rows, hidden]; weights, chosen: [rows, k]. Returns [rows, hidden] in f32."""
        k = chosen.shape[1]
        # The copies for expert 0, then those for expert 1 and so on, each made up to a multiple: few shapes of products, which
        # oneDNN prepares once each. places: where each row's k copies lie; rows: whose copy lies there, of row 0 between them.
        order = chosen.flatten().argsort(stable=True)
        exact = torch.bincount(chosen.flatten(), minlength=gate_up.shape[0])
        counts = (exact + (_ROWS_STEP - 1)) // _ROWS_STEP * _ROWS_STEP
        shift = (counts.cumsum(0) - counts) - (exact.cumsum(0) - exact)
        sorted_places = torch.arange(order.shape[0], device=order.device) + shift.repeat_interleave(exact)
        places = torch.empty_like(order)
        places[order] = sorted_places
        counts = counts.tolist()
        rows = order.new_zeros(sum(counts))
        rows[sorted_places] = order // k
        # Gates before ups, so that each half of a row is contiguous.
        halves, biases, down = _in_halves(gate_up).bfloat16(), _in_halves(gate_up_bias).bfloat16(), down.bfloat16()
        copies = x.index_select(0, rows)
        u = x.new_empty(copies.shape[0], halves.shape[1])
        for e, part in enumerate(_slices(counts)):
            torch.addmm(biases[e], copies[part], halves[e].t(), out=u[part])
        z = _swiglu(u)
        y = torch.empty_like(copies)
        down_biases = down_bias.bfloat16()
        for e, part in enumerate(_slices(counts)):
            torch.addmm(down_biases[e], z[part], down[e].t(), out=y[part])
        ctx.save_for_backward(copies, weights, rows, places, halves, down, u, z, y)
        ctx.counts = counts
        return _weighted_sum(y.index_select(0, places).view(*chosen.shape, -1), weights)

    @staticmethod
    def backward(ctx: Any, d_sum: Tensor) -> tuple[Tensor | None, ...]:
        copies, weights, rows, places, halves, down, u, z, y = ctx.saved_tensors
        placed_weights = weights.new_zeros(rows.shape[0])
        placed_weights[places] = weights.flatten()
        dy, d_weights = _weighted_sum_backward(d_sum, y, placed_weights, rows)
        dz, dx, d_halves, d_down = torch.empty_like(z), torch.empty_like(copies), torch.empty_like(halves), torch.empty_like(down)
        d_down_bias, d_biases = dy.new_empty(down.shape[:2]), dy.new_empty(halves.shape[:2])
        for e, part in enumerate(_slices(ctx.counts)):
            torch.mm(dy[part], down[e], out=dz[part])
            torch.mm(dy[part].t(), z[part], out=d_down[e])
            torch.sum(dy[part], dim=0, out=d_down_bias[e])
        du = _swiglu_backward(u, dz)
        for e, part in enumerate(_slices(ctx.counts)):
            torch.mm(du[part], halves[e], out=dx[part])
            torch.mm(du[part].t(), copies[part], out=d_halves[e])
            torch.sum(du[part], dim=0, out=d_biases[e])
        gradients = (_interleaved(d_halves), _interleaved(d_biases), d_down, d_down_bias)
        dx = dx.index_select(0, places).view(*weights.shape, -1).sum(dim=1)
        return dx, d_weights[places].view_as(weights), None, *(each.float() for each in gradients)


@torch.compile(dynamic=True)
def _swiglu(u: Tensor) -> Tensor:
    gate, up = u.float().chunk(2, dim=-1)
    gate = gate.clamp(max=SWIGLU_LIMIT)
    return (gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (up.clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT) + 1)).bfloat16()


@torch.compile(dynamic=True)
def _swiglu_backward(u: Tensor, dz: Tensor) -> Tensor:
    gate, up = u.float().chunk(2, dim=-1)
    dz = dz.float()
    clamped = gate.clamp(max=SWIGLU_LIMIT)
    sigmoid = torch.sigmoid(SWIGLU_ALPHA * clamped)
    slope = sigmoid * (1 + SWIGLU_ALPHA * clamped * (1 - sigmoid))
    d_gate = dz * (up.clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT) + 1) * slope * (gate <= SWIGLU_LIMIT)
    d_up = dz * clamped * sigmoid * (up.abs() <= SWIGLU_LIMIT)
    return torch.cat((d_gate, d_up), dim=-1).bfloat16()


@torch.compile(dynamic=True)
def _weighted_sum(y: Tensor, weights: Tensor) -> Tensor:
    """[rows, hidden] in f32 of [rows, k, hidden] and [rows, k]; written out, since a sum over dimension 1 compiles to slow code."""
    total = y[:, 0].float() * weights[:, 0, None]
    for i in range(1, weights.shape[1]):
        total = total + y[:, i].float() * weights[:, i, None]
    return total


@torch.compile(dynamic=True)
def _weighted_sum_backward(d_sum: Tensor, y: Tensor, weights: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the copies [copies, hidden] and of their weights [copies]; rows: [copies]."""
    d_rows = d_sum[rows]
    return (d_rows * weights[:, None]).bfloat16(), (d_rows * y.float()).sum(dim=-1)


def _slices(counts: list[int]) -> list[slice]:
    ends = list(itertools.accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts)]


def _in_halves(interleaved: Tensor) -> Tensor:
    """Gates before ups, in dimension 1, where they alternate."""
    return torch.cat((interleaved[:, 0::2], interleaved[:, 1::2]), dim=1)


def _interleaved(halves: Tensor) -> Tensor:
    """Undoes the order of gates before ups, in dimension 1."""
    return torch.stack(halves.chunk(2, dim=1), dim=2).flatten(1, 2)


@dataclasses.dataclass(frozen=True)
class Routing:
    """balance: the load-balancing loss of the Switch Transformer, 1 at best; load: [experts], share of rows times experts."""

    balance: Tensor
    load: Tensor

    @staticmethod
    def of(logits: Tensor, chosen: Tensor) -> Routing:
        experts = logits.shape[-1]
        load = torch.bincount(chosen.flatten(), minlength=experts) * (experts / chosen.numel())
        return Routing((load * logits.softmax(dim=-1).mean(0)).sum(), load)
