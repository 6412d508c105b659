"""Synthetic conversations of everything that the tiny model can do, without end."""

from __future__ import annotations

import random
from collections.abc import Iterator

from . import arithmetic, calendar_terms, copying, numbers, spelling, talk, units
from .dialogue import Answer, Conversation, Effort, Message, Task, Thoughts, choose, question
from .functions import distractor, need, outcome
from .instructions import Instruction, instruction
from .schemas import structured
from .words import Split, Words

TASKS: dict[Task, float] = {
    arithmetic.addition: 12,
    arithmetic.subtraction: 11,
    numbers.comparison: 9,
    numbers.extreme: 4,
    numbers.sorting: 18,
    spelling.spelling: 5,
    spelling.reversing: 11,
    spelling.counting: 7,
    spelling.measuring: 2,
    calendar_terms.calendar: 10,
    units.conversion: 10,
    copying.echo: 7,
    copying.extraction: 13,
    talk.greeting: 4,
    talk.identity: 3,
    talk.declining: 6,
}
"""Tasks that are answered without a function, and how often each is asked."""

_EFFORTS: tuple[Effort, ...] = ("low", "medium", "medium", "high")


def conversations(seed: int | str, split: Split, vocabulary: tuple[str, ...] = (), single: bool = False) -> Iterator[Conversation]:
    """Of every kind or, with `single`, one plain question each."""
    rng = random.Random(f"{split} {seed}")
    words = Words(rng, split, vocabulary)
    while True:
        yield asking(rng, words, _task(rng), single=True) if single else conversation(rng, words)


def conversation(rng: random.Random, words: Words) -> Conversation:
    kind = rng.random()
    if kind < 0.26:
        return calling(rng, words)
    if kind < 0.29:
        return unserved(rng, words)
    if kind < 0.39:
        return in_json(rng, words)
    task = _task(rng)
    told = instruction(rng, words) if rng.random() < 0.24 else None
    if told and told.kind == "name" and rng.random() < 0.7:
        task = talk.identity
    tools = []
    if rng.random() < 0.14:
        tools = [need(rng, words).definition for _ in range(rng.choice((1, 1, 2)))]
    return asking(rng, words, task, told, tuple(tools))


def asking(
    rng: random.Random,
    words: Words,
    task: Task,
    told: Instruction | None = None,
    tools: tuple[dict, ...] = (),
    follow_up: bool = False,
    single: bool = False,
) -> Conversation:
    """One to four questions, the last by `task` or, with `follow_up`, on the answer before it; with `single`, only that by `task`."""
    answers: list[Answer] = []
    for _ in range(0 if rng.random() < 0.9 or follow_up or single else rng.choice((1, 1, 2))):
        answers.append(_task(rng)(rng, words))
    answers.append(task(rng, words))
    follow_up = follow_up or (rng.random() < 0.24 and not single)
    following = goes_on(answers[-1], rng, words) if follow_up else None
    if following:
        answers.append(following)
    messages: list[Message] = []
    for answer in answers:
        effort = rng.choice(_EFFORTS)
        messages.append(Message("user", answer.question))
        messages.append(Message("analysis", answer.thoughts.at(effort)))
        messages.append(Message("final", told.apply(answer) if told else answer.final))
    name = "follow-ups" if following else answers[-1].task
    return Conversation(name, effort, date(rng), tuple(messages), told.text if told else None, tools)


def _task(rng: random.Random) -> Task:
    return rng.choices(list(TASKS), list(TASKS.values()))[0]


def goes_on(before: Answer, rng: random.Random, words: Words) -> Answer | None:
    match before.task:
        case "addition" | "subtraction":
            return arithmetic.goes_on(before, rng, words)
        case "spelling" | "reversing":
            return spelling.goes_on(before, rng, words)
        case "sorting":
            values = [int(value) for value in before.value.split(", ")]
            descending = values == sorted(values)
            end = "descending" if descending else "ascending"
            asked = choose(words, (f"[and |now |][in|sort them in] {end} order",))
            return numbers.sort(values, descending, question(words, asked))
        case "calendar":
            return calendar_terms.goes_on(before, rng, words)
    return None


def calling(rng: random.Random, words: Words, answered: bool | None = None) -> Conversation:
    """A question that needs a function: up to the call, or (`answered`) up to what the model makes of the result."""
    effort = rng.choice(_EFFORTS)
    wanted = need(rng, words)
    tools = [wanted.definition]
    while len(tools) < 3 and rng.random() < 0.42:
        other = distractor(rng, words, wanted)
        if all(other["function"]["name"] != each["function"]["name"] for each in tools):
            tools.append(other)
    rng.shuffle(tools)
    told = None
    if rng.random() < 0.2:
        told = instruction(rng, words)
        while told.kind != "neutral":
            told = instruction(rng, words)
    messages = [Message("user", wanted.asked)]
    if rng.random() < 0.08:
        before = rng.choice((talk.greeting, arithmetic.addition))(rng, words)
        messages[:0] = [Message("user", before.question), Message("final", before.final)]
    answered = rng.random() < 0.3 if answered is None else answered
    if not answered or rng.random() < 0.6:
        messages.append(Message("analysis", wanted.thoughts().at(effort)))
    messages.append(Message("call", wanted.call(), wanted.name))
    if answered:
        result = outcome(rng, words, wanted)
        messages.append(Message("tool", result.content, wanted.name))
        messages.append(Message("analysis", result.thoughts.at(effort)))
        messages.append(Message("final", result.final))
    task = "tool results" if answered else "tool calls"
    return Conversation(task, effort, date(rng), tuple(messages), told.text if told else None, tuple(tools))


def unserved(rng: random.Random, words: Words) -> Conversation:
    """A question for which there is no function, or only ones for something else."""
    effort = rng.choice(_EFFORTS)
    wanted = need(rng, words)
    tools = tuple(distractor(rng, words, wanted) for _ in range(rng.choice((0, 0, 1, 1, 2))))
    if len({each["function"]["name"] for each in tools}) < len(tools):
        tools = tools[:1]
    why = f"The user wants {wanted.subject}. No function does that."
    thoughts = Thoughts("No function does that.", why, f"{why} I answer politely and briefly.")
    messages = (Message("user", wanted.asked), Message("analysis", thoughts.at(effort)), Message("final", talk.DECLINE))
    return Conversation("declining", effort, date(rng), messages, tools=tools)


def in_json(rng: random.Random, words: Words) -> Conversation:
    effort = rng.choice(_EFFORTS)
    made = structured(rng, words)
    messages = (Message("user", made.asked), Message("analysis", made.thoughts.at(effort)), Message("final", made.final))
    return Conversation("JSON by schema", effort, date(rng), messages, response_format=made.response_format)


def date(rng: random.Random) -> str:
    return f"{rng.randint(2024, 2039)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
