"""Conversations as batches of tokens."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import harmony
from conversations import Conversation, conversations
from conversations.words import Split
from tokenizer import Vocabulary

LENGTH_STEP = 16
"""Lengths are rounded up to a multiple, so that few shapes occur."""
ROWS_STEP = 128
"""So many rows, or a multiple, are present where there is padding enough: again for few shapes."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """All [batch, time]. `targets` is the next token where the model is taught or judged, IGNORED elsewhere."""

    tokens: Tensor
    targets: Tensor
    present: Tensor
    tasks: tuple[str, ...]


IGNORED = -100


@dataclasses.dataclass(frozen=True)
class _Example:
    task: str
    tokens: list[int]
    prompt: int

    @staticmethod
    def of(conversation: Conversation, vocabulary: Vocabulary) -> _Example:
        prompt = vocabulary.encode(harmony.prompt(conversation))
        return _Example(conversation.task, prompt + vocabulary.encode(harmony.completion(conversation)), len(prompt))


def steps(
    vocabulary: Vocabulary, seed: int, split: Split, size: int, first: int = 0, single: Callable[[int], bool] = lambda _: False, parts: int = 3
) -> Iterator[list[Batch]]:
    """For each step from `first` on `size` conversations of its own, in `parts` batches of like lengths.

    Those of the steps for which `single` is true are single questions: shorter, and from them a model learns soon to copy and to look up.
    """
    for step in itertools.count(first):
        source = conversations(f"{seed} {step}", split, vocabulary.words(), single=single(step))
        examples = [_Example.of(each, vocabulary) for each in itertools.islice(source, size)]
        examples = sorted((each for each in examples if len(each.tokens) <= 512), key=lambda each: len(each.tokens))
        yield [_batch(group) for group in _grouped(examples, parts)]


def _grouped(examples: list[_Example], parts: int) -> list[list[_Example]]:
    """Cuts sorted examples where about equally many tokens lie on both sides."""
    share = sum(len(each.tokens) for each in examples) / parts
    groups: list[list[_Example]] = [[] for _ in range(parts)]
    seen = 0
    for example in examples:
        groups[min(parts - 1, int(seen / share))].append(example)
        seen += len(example.tokens)
    return [group for group in groups if group]


def _batch(examples: list[_Example]) -> Batch:
    longest = max(len(each.tokens) for each in examples) - 1
    time = -(-longest // LENGTH_STEP) * LENGTH_STEP
    tokens = torch.zeros(len(examples), time, dtype=torch.long)
    targets = torch.full((len(examples), time), IGNORED)
    present = torch.zeros(len(examples), time, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids, last = torch.tensor(example.tokens), len(example.tokens) - 1
        tokens[row, :last] = ids[:-1]
        present[row, :last] = True
        targets[row, example.prompt - 1 : last] = ids[example.prompt :]
    spare = (~present).flatten().nonzero().flatten()[: -int(present.sum()) % ROWS_STEP]
    present.view(-1)[spare] = True
    return Batch(tokens, targets, present, tuple(each.task for each in examples))
