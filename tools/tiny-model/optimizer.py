"""Muon for the weight matrices, AdamW for everything else."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrices of [..., rows, columns], roughly, by a quintic Newton-Schulz iteration.

    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with its coefficients.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.transpose(-1, -2) if tall else matrices
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        square = x @ x.transpose(-1, -2)
        x = a * x + (b * square + c * square @ square) @ x
    return (x.transpose(-1, -2) if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Each update is the orthogonalised Nesterov momentum of a matrix, or of every expert's matrix."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalise(parameter.grad.lerp(average, group["momentum"]))
                rows, columns = parameter.shape[-2:]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def optimizers(model: nn.Module, matrix_rate: float, embedding_rate: float, other_rate: float) -> list[torch.optim.Optimizer]:
    matrices, embeddings, others = [], [], []
    for name, parameter in model.named_parameters():
        if name.startswith("embedding."):
            embeddings.append(parameter)
            continue
        hidden = name.startswith("blocks.") and parameter.ndim >= 2
        is_matrix = hidden and not name.endswith("_bias") and ".router." not in name
        (matrices if is_matrix else others).append(parameter)
    return [
        Muon(matrices, lr=matrix_rate),
        torch.optim.AdamW(
            [{"params": embeddings, "lr": embedding_rate}, {"params": others, "lr": other_rate}], betas=(0.9, 0.95), weight_decay=0.0
        ),
    ]
