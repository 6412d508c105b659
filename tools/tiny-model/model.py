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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding over pairs (i, i + head_dim / 2). x: [batch, heads, time, head_dim]; cos, sin: [time, head_dim / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RmsNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, RMS_NORM_EPS)


class Attention(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.shape = shape
        self.window = shape.sliding_window if layer % 2 == 0 else None
        queries, keys = shape.query_heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = nn.Linear(shape.hidden, queries + 2 * keys)
        self.out = nn.Linear(queries, shape.hidden)
        self.sinks = nn.Parameter(torch.zeros(shape.query_heads))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, masks: Masks) -> Tensor:
        shape, (batch, time, _) = self.shape, x.shape
        heads, kv_heads, dims = shape.query_heads, shape.kv_heads, shape.head_dim
        q, k, v = self.qkv(x).split((heads * dims, kv_heads * dims, kv_heads * dims), dim=-1)
        q = rotate(q.view(batch, time, heads, dims).transpose(1, 2), cos, sin)
        k = rotate(k.view(batch, time, kv_heads, dims).transpose(1, 2), cos, sin)
        v = v.view(batch, time, kv_heads, dims).transpose(1, 2)
        o = _AttentionWithSinks.apply(q * dims**-0.5, k, v, self.sinks, masks.sliding if self.window else masks.full)
        return self.out(o.transpose(1, 2).reshape(batch, time, heads * dims))


class _AttentionWithSinks(torch.autograd.Function):
    """softmax(q k + mask, with a sink beside it) v as one step of the graph, with few passes over the scores.

    The sink is the score of one more key, whose value is zero.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, mask: Tensor) -> Tensor:
        """q: [batch, heads, time, dims], scaled; k, v: [batch, kv_heads, time, dims]; sinks: [heads]; mask: [time, time]."""
        batch, heads, time, dims = q.shape
        kv_heads = k.shape[1]
        # The queries of one kv head are stacked in its rows.
        q = q.reshape(batch, kv_heads, heads // kv_heads * time, dims)
        k, v = F.pad(k, (0, 0, 0, _MORE_KEYS)), F.pad(v, (0, 0, 0, _MORE_KEYS))
        scores = (q @ k.transpose(-1, -2)).view(batch, heads, time, time + _MORE_KEYS)
        wide = F.pad(mask, (0, _MORE_KEYS), value=float("-inf")).repeat(heads, 1, 1)
        wide[..., time] = sinks[:, None]
        p = scores.add_(wide).softmax(dim=-1).view(batch, kv_heads, -1, time + _MORE_KEYS)
        ctx.save_for_backward(q, k, v, p)
        return (p @ v).view(batch, heads, time, dims)

    @staticmethod
    def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, p = ctx.saved_tensors
        batch, heads, time, dims = do.shape
        do = do.reshape(q.shape)
        dv = p.transpose(-1, -2) @ do
        ds = torch._softmax_backward_data(do @ v.transpose(-1, -2), p, -1, p.dtype)
        dq, dk = ds @ k, ds.transpose(-1, -2) @ q
        d_sinks = ds.view(batch, heads, time, -1)[..., time].sum(dim=(0, 2))
        return dq.view(batch, heads, time, dims), dk[:, :, :time], dv[:, :, :time], d_sinks, None


_MORE_KEYS = 8
"""The sink and seven masked keys, so that rows of scores stay aligned."""


@dataclasses.dataclass(frozen=True)
class Masks:
    """Additive masks [time, time]: 0 where visible, -inf elsewhere."""

    full: Tensor
    sliding: Tensor

    @staticmethod
    def make(time: int, window: int, device: torch.device) -> Masks:
        distance = torch.arange(time, device=device)[:, None] - torch.arange(time, device=device)[None, :]
        hidden = float("-inf")
        full = torch.zeros(time, time, device=device).masked_fill(distance < 0, hidden)
        return Masks(full, full.masked_fill(distance >= window, hidden))


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
        """x: [rows, hidden]."""
        k = self.shape.experts_per_token
        logits = self.router(x)
        chosen_logits, chosen = logits.topk(k, dim=-1)
        weights = chosen_logits.softmax(dim=-1)
        routing = Routing.of(logits, chosen)

        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=self.shape.experts).tolist()
        rows = order // k
        outputs = _ExpertFeedForward.apply(
            x.index_select(0, rows), self.gate_up, self.gate_up_bias, self.down, self.down_bias, counts
        )
        weighted = outputs * weights.flatten().index_select(0, order)[:, None]
        return torch.zeros_like(x).index_add(0, rows, weighted), routing


class _ExpertFeedForward(torch.autograd.Function):
    """down(swiglu(gate_up(x))) of every expert over its own rows, as one step of the graph: on a CPU a training step takes a
    fifth less than with sixteen small graphs per layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, gate_up_bias: Tensor, down: Tensor, down_bias: Tensor, counts: list[int]) -> Tensor:
        """x: [rows, hidden], the first counts[0] rows for expert 0 and so on. Returns [rows, hidden]."""
        # Gates before ups, so that each half of a row is contiguous.
        halves = torch.cat((gate_up[:, 0::2], gate_up[:, 1::2]), dim=1)
        biases = torch.cat((gate_up_bias[:, 0::2], gate_up_bias[:, 1::2]), dim=1)
        u = x.new_empty(x.shape[0], halves.shape[1])
        for e, rows in enumerate(_slices(counts)):
            torch.addmm(biases[e], x[rows], halves[e].t(), out=u[rows])
        gate, up = u.chunk(2, dim=-1)
        clamped = gate.clamp(max=SWIGLU_LIMIT)
        sigmoid = torch.sigmoid(SWIGLU_ALPHA * clamped)
        lifted = up.clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT).add_(1)
        z = (clamped * sigmoid).mul_(lifted)
        y = torch.empty_like(x)
        for e, rows in enumerate(_slices(counts)):
            torch.addmm(down_bias[e], z[rows], down[e].t(), out=y[rows])
        ctx.save_for_backward(x, halves, down, u, sigmoid, lifted, z)
        ctx.counts = counts
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, halves, down, u, sigmoid, lifted, z = ctx.saved_tensors
        dz, dx, d_halves, d_down = torch.empty_like(z), torch.empty_like(x), torch.empty_like(halves), torch.empty_like(down)
        d_down_bias = dy.new_empty(down.shape[:2])
        for e, rows in enumerate(_slices(ctx.counts)):
            torch.mm(dy[rows], down[e], out=dz[rows])
            torch.mm(dy[rows].t(), z[rows], out=d_down[e])
            torch.sum(dy[rows], dim=0, out=d_down_bias[e])
        gate, up = u.chunk(2, dim=-1)
        clamped = gate.clamp(max=SWIGLU_LIMIT)
        slope = (1 - sigmoid).mul_(clamped).mul_(SWIGLU_ALPHA).add_(1).mul_(sigmoid)
        du = torch.empty_like(u)
        d_gate, d_up = du.chunk(2, dim=-1)
        torch.mul(dz, lifted, out=d_gate).mul_(slope).mul_(gate <= SWIGLU_LIMIT)
        torch.mul(dz, clamped, out=d_up).mul_(sigmoid).mul_(up.abs() <= SWIGLU_LIMIT)
        d_biases = dy.new_empty(halves.shape[:2])
        for e, rows in enumerate(_slices(ctx.counts)):
            torch.mm(du[rows], halves[e], out=dx[rows])
            torch.mm(du[rows].t(), x[rows], out=d_halves[e])
            torch.sum(du[rows], dim=0, out=d_biases[e])
        return dx, _interleaved(d_halves), _interleaved(d_biases), d_down, d_down_bias, None


def _slices(counts: list[int]) -> list[slice]:
    ends = list(itertools.accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts)]


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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, masks: Masks, present: Tensor) -> tuple[Tensor, Routing]:
        """x: [batch, time, hidden]; present: indices of the rows of batch * time that are no padding."""
        x = x + self.attention(self.attention_norm(x), cos, sin, masks)
        rows = x.flatten(0, 1).index_select(0, present)
        y, routing = self.experts(self.experts_norm(rows))
        return x.flatten(0, 1).index_add(0, present, y).view_as(x), routing


class Transformer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.norm = RmsNorm(shape.hidden)
        self.unembedding = nn.Linear(shape.hidden, shape.vocab, bias=False)
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
        """tokens: [batch, time]; present: [batch, time], false for padding. Returns the normed states [batch, time, hidden]."""
        time = tokens.shape[1]
        rows = present.flatten().nonzero().squeeze(1)
        masks = Masks.make(time, self.shape.sliding_window, tokens.device)
        x, routings = self.embedding(tokens), []
        for block in self.blocks:
            x, routing = block(x, self.cos[:time], self.sin[:time], masks, rows)
            routings.append(routing)
        return self.norm(x), routings

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Logits [batch, time, vocab]."""
        return self.unembedding(self.hidden_states(tokens, present)[0])
