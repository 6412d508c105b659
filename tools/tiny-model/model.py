"""The gpt-oss architecture in PyTorch, for training on CPU or GPU.

Attention sinks, YaRN, sliding and full layers in turn, grouped-query attention, SwiGLU with clamp, top-k routing over the
chosen experts' logits, untied embeddings. Shapes are written as [batch, time, ...]; all weights are [out, in].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attention import Attention, Layout, yarn_tables
from experts import Experts, Routing
from layers import Bf16Linear, RmsNorm, Shape


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
