"""Trains the model, and says as it goes how many held-out completions it gets right to the last token."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from batches import IGNORED, Batch, steps
from experts import Routing
from model import Transformer
from optimizer import optimizers
from quantize import fake_mxfp4
from tokenizer import Vocabulary

BALANCE_WEIGHT = 0.01
"""Of the load-balancing loss of each layer, against the mean loss of a token."""


@dataclasses.dataclass(frozen=True)
class Plan:
    rounds: tuple[int, ...] = (4400, 3600, 1500)
    """Steps of each round. In each the rates rise and fall once, half as high as in the one before."""
    averaged: int = 2
    """The model is the mean of what the last so many rounds ended with."""
    conversations_per_step: int = 64
    seed: int = 1
    matrix_rate: float = 0.02
    embedding_rate: float = 0.003
    other_rate: float = 0.003
    warm_up: int = 100
    decay_from: float = 0.15
    """Share of a round after which the rates fall to zero, in a straight line."""
    single_until: float = 0.1
    """Share of the first round whose conversations are single questions."""
    quantise_from: float = 0.6
    """Share of a round after which the experts are rounded to MXFP4 on the way forward."""
    clip: float = 1.0

    @property
    def steps(self) -> int:
        return sum(self.rounds)

    def rate(self, step: int) -> float:
        """Of learning, against the full rates."""
        number, step, steps = self._place(step)
        start = steps * self.decay_from
        return min(1.0, (step + 1) / self.warm_up, (steps - step) / max(1.0, steps - start)) * 0.5**number

    def single(self, step: int) -> bool:
        number, step, steps = self._place(step)
        return number == 0 and step < steps * self.single_until

    def quantised(self, step: int) -> bool:
        _, step, steps = self._place(step)
        return step >= steps * self.quantise_from

    def ended(self, step: int) -> int | None:
        """The round of which a step is the last."""
        number, step, steps = self._place(step)
        return number if step + 1 == steps else None

    def _place(self, step: int) -> tuple[int, int, int]:
        """The round of a step, from 0 on, the step's place in it and the round's length."""
        for number, steps in enumerate(self.rounds):
            if step < steps:
                return number, step, steps
            step -= steps
        raise ValueError("step: expected one of a round")


def taught_states(model: Transformer, batch: Batch) -> tuple[Tensor, Tensor, list[Routing]]:
    """Logits and targets [taught, vocab] and [taught] of the positions that have a target."""
    states, routings = model.hidden_states(batch.tokens, batch.present)
    targets = batch.targets[batch.present]
    taught = targets != IGNORED
    return model.unembedding(states[taught]).float(), targets[taught], routings


def train(model: Transformer, vocabulary: Vocabulary, plan: Plan, out: Path) -> None:
    device = next(model.parameters()).device
    all_optimizers = optimizers(model, plan.matrix_rate, plan.embedding_rate, plan.other_rate)
    base_rates = [[group["lr"] for group in each.param_groups] for each in all_optimizers]
    first = _resume(model, all_optimizers, out)
    source = steps(vocabulary, plan.seed, "train", plan.conversations_per_step, first, plan.single)
    started, tokens, losses, loads = time.monotonic(), 0, [], []
    for step in range(first, plan.steps):
        for optimizer, rates in zip(all_optimizers, base_rates):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * plan.rate(step)
        parts = [_to(batch, device) for batch in next(source)]
        taught = sum(int((batch.targets != IGNORED).sum()) for batch in parts)
        rounded = Rounded(model) if plan.quantised(step) else None
        for batch in parts:
            logits, targets, routings = taught_states(model, batch)
            loss = F.cross_entropy(logits, targets, reduction="sum") / taught
            balance = torch.stack([routing.balance for routing in routings]).sum()
            (loss + BALANCE_WEIGHT / len(parts) * balance).backward()
            losses.append(loss.item())
            loads.append(max(routing.load.max().item() for routing in routings))
            tokens += int(batch.present.sum())
        if rounded:
            rounded.restore()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        for optimizer in all_optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 50 == 0:
            elapsed = time.monotonic() - started
            loss = sum(losses) / 50
            rate = f"{tokens / elapsed:.0f} tokens/s, {elapsed:.0f} s, {time.process_time():.0f} s of CPU"
            print(f"step {step + 1} loss {loss:.4f} load {sum(loads) / len(loads):.2f} {rate}", flush=True)
            losses, loads = [], []
        ended = plan.ended(step)
        if (step + 1) % 250 == 0 or ended is not None:
            _save(model, all_optimizers, step + 1, out)
            report(model, vocabulary, quantised=rounded is not None)
        if ended is not None:
            torch.save(model.state_dict(), _end_of(out, ended))
    _average(model, [_end_of(out, number) for number in range(len(plan.rounds))][-plan.averaged :])


def _end_of(out: Path, number: int) -> Path:
    return out / f"round-{number + 1}.pt"


def _average(model: Transformer, ends: list[Path]) -> None:
    """Gives a model the mean of the weights that some rounds ended with."""
    states = [torch.load(end, map_location="cpu", weights_only=True) for end in ends]
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})


class Rounded:
    """The experts' weights as MXFP4 keeps them, until they are restored; gradients are those of the rounded weights."""

    def __init__(self, model: Transformer) -> None:
        self._kept = [(p, p.data) for block in model.blocks for p in (block.experts.gate_up, block.experts.down)]
        for parameter, weight in self._kept:
            parameter.data = fake_mxfp4(weight)

    def restore(self) -> None:
        for parameter, weight in self._kept:
            parameter.data = weight


@torch.no_grad()
def report(model: Transformer, vocabulary: Vocabulary, quantised: bool, count: int = 10) -> dict[str, float]:
    """The share of held-out completions that greedy decoding gets right in every token, by task."""
    device = next(model.parameters()).device
    right: dict[str, list[bool]] = collections.defaultdict(list)
    rounded = Rounded(model) if quantised else None
    for parts in itertools.islice(steps(vocabulary, 0, "test", 60), count):
        for batch in (_to(part, device) for part in parts):
            logits, targets, _ = taught_states(model, batch)
            taught = batch.targets != IGNORED
            wrong = torch.zeros_like(taught)
            wrong[taught] = logits.argmax(-1) != targets
            for task, ok in zip(batch.tasks, (~wrong.any(dim=1)).tolist()):
                right[task].append(ok)
    if rounded:
        rounded.restore()
    scores = {task: sum(each) / len(each) for task, each in sorted(right.items())}
    mean = sum(map(sum, right.values())) / sum(map(len, right.values()))
    print(f"  held out {mean:.3f}: " + ", ".join(f"{task} {score:.2f}" for task, score in scores.items()), flush=True)
    return scores


def _to(batch: Batch, device: torch.device) -> Batch:
    return dataclasses.replace(batch, tokens=batch.tokens.to(device), targets=batch.targets.to(device), present=batch.present.to(device))


def _save(model: Transformer, all_optimizers: list[torch.optim.Optimizer], step: int, out: Path) -> None:
    state = {"step": step, "model": model.state_dict(), "optimizers": [each.state_dict() for each in all_optimizers]}
    torch.save(state, out / "training.pt.part")
    (out / "training.pt.part").replace(out / "training.pt")


def _resume(model: Transformer, all_optimizers: list[torch.optim.Optimizer], out: Path) -> int:
    path = out / "training.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, kept in zip(all_optimizers, state["optimizers"]):
        optimizer.load_state_dict(kept)
    print(f"going on from step {state['step']}", flush=True)
    return state["step"]
