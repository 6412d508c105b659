"""The gpt-oss architecture in PyTorch, for training on CPU or GPU.

Attention sinks, YaRN, sliding and full layers in turn, grouped-query attention, SwiGLU with clamp, top-k routing over the
chosen experts' logits, untied embeddings. Shapes are written as [batch, time, ...]; all weights are [out, in].
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SWIGLU_ALPHA = 1.702
SWIGLU_LIMIT = 7.0
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


_ROWS_STEP = 64


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


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(shape.hidden)
        self.attention = Attention(shape, layer)
        self.experts_norm = RmsNorm(shape.hidden)
        self.experts = Experts(shape)

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Routing]:
        """x: [rows, hidden], in f32."""
        x = x + self.attention(self.attention_norm(x), layout)
        y, routing = self.experts(self.experts_norm(x))
        return x + y, routing


class Transformer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.norm = RmsNorm(shape.hidden)
        self.unembedding = Bf16Linear(shape.hidden, shape.vocab, bias=False)
        cos, sin = yarn_tables(shape, shape.max_context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self) -> None:
        depth = math.sqrt(2 * self.shape.layers)
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.normal_(self.unembedding.weight, std=self.shape.hidden**-0.5)
        for block in self.blocks:
            for linear, scale in ((block.attention.qkv, 1.0), (block.attention.out, 1 / depth), (block.experts.router, 0.2)):
                nn.init.normal_(linear.weight, std=scale * linear.in_features**-0.5)
                nn.init.zeros_(linear.bias)

    def hidden_states(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, list[Routing]]:
        """tokens, present: [batch, time]; the latter is false for padding. Returns the normed states [present rows, hidden] in bf16."""
        batch, time = tokens.shape
        rows = present.flatten().nonzero().squeeze(1)
        layout = Layout(batch, time, rows, self.cos[rows % time], self.sin[rows % time])
        x, routings = self.embedding(tokens.flatten()[rows]), []
        for block in self.blocks:
            x, routing = block(x, layout)
            routings.append(routing)
        return self.norm(x), routings
