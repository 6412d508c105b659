"""What a conversation is made of, before it becomes tokens."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from typing import Any, Literal

from .words import Words

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")


@dataclasses.dataclass(frozen=True)
class Thoughts:
    """The analysis at each reasoning effort."""

    low: str
    medium: str
    high: str

    def at(self, effort: Effort) -> str:
        return getattr(self, effort)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One question and what the model shall think and say.

    `value` is the bare result, for "answer with the result only" and for questions that go on from it.
    """

    task: str
    question: str
    thoughts: Thoughts
    final: str
    value: str


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of harmony. `content` of a call is JSON; `name` is the function that is called or that answers."""

    role: Literal["user", "analysis", "final", "call", "tool"]
    content: str
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Conversation:
    """`messages` alternate as harmony has them; the model is taught every analysis, call and final of them."""

    task: str
    effort: Effort
    date: str
    messages: tuple[Message, ...]
    instructions: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    response_format: dict[str, Any] | None = None


Task = Callable[[random.Random, Words], Answer]

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


def expand(rng: random.Random, template: str) -> str:
    """Chooses one of each `[a|b|]`, innermost first."""
    while match := _CHOICE.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    return re.sub(r" {2,}", " ", template).strip()


def choose(words: Words, common: tuple[str, ...], held_out: tuple[str, ...] = ()) -> str:
    """One of the templates, expanded; those held out appear in a third of the test split's prompts, and nowhere else."""
    pool = held_out if held_out and words.split == "test" and words.rng.random() < 1 / 3 else common
    return expand(words.rng, words.rng.choice(pool))


def question(words: Words, text: str) -> str:
    """Writes a question as people do: with or without a capital, a mark at the end, or a please."""
    rng = words.rng
    mark = "?" if re.match(r"(?i)(what|how|which|who|where|when|is|are|can|could|do|does|tell me|and|why)\b", text) else rng.choice((".", ""))
    if rng.random() < 0.25:
        mark = ""
    if rng.random() < 0.08:
        text = rng.choice(("please ", "hi, ", "hello, ", "hey, ", "ok, ", "now ", "so ", "quick question: ")) + text
    elif rng.random() < 0.05 and not text.endswith(('"', ".")):
        text += rng.choice((", please", " please", " for me"))
    if rng.random() < 0.75:
        text = text[0].upper() + text[1:]
    return text + ("" if text[-1] in "?!.=" else mark)
