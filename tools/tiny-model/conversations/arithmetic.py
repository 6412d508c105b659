"""Addition and subtraction of numbers up to 999, digit by digit."""

from __future__ import annotations

import random

from .dialogue import Answer, Thoughts, choose, question
from .words import Words

_ASK = "[what is|what's|how much is|calculate|compute|work out|solve|tell me|evaluate|||] "
_ADD = (
    _ASK + "{a} [+|+|plus] {b}",
    "{a}+{b}[=||]",
    "{a} + {b} =",
    "[add|sum|please add|can you add|add up|total] {a} and {b}",
    "add {b} to {a}",
    "[what is |give me |find |calculate |]the [sum|total] of {a} and {b}",
    "what do [you|we|i] get if [you|we|i] add {a} and {b}",
    "i have {a} {noun}s and [get|buy|find] {b} more. how many [do i have|are there] [now|in total|]",
    "there are {a} {noun}s and {b} {other}s. how many are there [in total|together|]",
    "{name} has {a} {noun}s and {other_name} has {b}. how many [do they have |]together",
    "[tell|show|give] me [what|how much] {a} and {b} [is|make|are]",
    "[find|i want|i need] the sum of {a} and {b}",
)
_ADD_HELD_OUT = ("please tell me what {a} plus {b} is", "if i add {a} and {b}, what is the total", "find {a} + {b}")
_SUBTRACT = (
    _ASK + "{a} [-|-|minus] {b}",
    "{a}-{b}[=||]",
    "{a} - {b} =",
    "[subtract|please subtract|can you subtract|take|take away] {b} from {a}",
    "take {b} away from {a}",
    "what do [you|we|i] get if [you|we|i] subtract {b} from {a}",
    "what is left [if|when] [you|i] take {b} [from|away from] {a}",
    "[find|i want|i need|tell me] {a} [minus|less|take away] {b}",
)
_SUBTRACT_HELD_OUT = ("please tell me what {a} minus {b} is", "if i take {b} from {a}, what is left", "find {a} - {b}")
_TAKE_AWAY = (
    "i have {a} {noun}s and [give away|lose|sell|eat] {b}. how many [are left|do i have left|remain]",
    "[what is |give me |find |calculate |]the difference [between|of] {a} and {b}",
    "there were {a} {noun}s and {b} are gone. how many are left",
)


def number(rng: random.Random, largest: int = 999) -> int:
    """As often of one digit as of two or three: small numbers are asked for most."""
    return rng.randint(0, min(largest, rng.choice((9, 20, 99, 99, 999, 999, 999))))


def addition(rng: random.Random, words: Words) -> Answer:
    a, b = number(rng), number(rng)
    template = choose(words, _ADD, _ADD_HELD_OUT)
    return add(a, b, _asked(words, template, a, b))


def subtraction(rng: random.Random, words: Words) -> Answer:
    a, b = number(rng), number(rng)
    template = choose(words, _SUBTRACT, _SUBTRACT_HELD_OUT)
    if rng.random() < 0.75 or a < b and rng.random() < 0.5:
        a, b = max(a, b), min(a, b)
        if rng.random() < 0.25:
            template = choose(words, _TAKE_AWAY)
    return subtract(a, b, _asked(words, template, a, b))


def _asked(words: Words, template: str, a: int, b: int) -> str:
    return question(
        words,
        template.format(a=a, b=b, noun=words.noun(), other=words.noun(), name=words.name(), other_name=words.name()),
    )


def add(a: int, b: int, asked: str) -> Answer:
    result = a + b
    columns, carry = [], 0
    for x, y in _columns(a, b):
        total = x + y + carry
        columns.append(f"{x}+{y}+{carry}={total:02}")
        carry = total // 10
    steps = f"{'+'.join(_aligned(a, b))}: {', '.join(columns)}"
    return Answer(
        "addition",
        asked,
        Thoughts(
            low=f"{steps}.",
            medium=f"Add the digits from the right. {steps}. So {result}.",
            high=f"The user wants the sum of {a} and {b}. Add the digits from the right, with the carry. {steps}. So {result}. Check: {result}-{b}={a}.",
        ),
        f"{a} + {b} = {result}",
        str(result),
    )


def subtract(a: int, b: int, asked: str) -> Answer:
    result = a - b
    larger, smaller = max(a, b), min(a, b)
    columns, borrow = [], 0
    for x, y in _columns(larger, smaller):
        digit = x - y - borrow
        lent = int(digit < 0)
        columns.append(f"{x}-{y}-{borrow}={digit + 10 * lent} borrow {lent}")
        borrow = lent
    swapped = f"{'<'.join(_aligned(a, b))}, so -({b}-{a}). " if result < 0 else ""
    steps = f"{swapped}{'-'.join(_aligned(larger, smaller))}: {', '.join(columns)}"
    return Answer(
        "subtraction",
        asked,
        Thoughts(
            low=f"{steps}.",
            medium=f"Subtract the digits from the right. {steps}. So {result}.",
            high=f"The user wants {b} taken from {a}. Subtract the digits from the right, with the borrow. {steps}. So {result}. "
            f"Check: {abs(result)}+{smaller}={larger}.",
        ),
        f"{a} - {b} = {result}",
        str(result),
    )


def _aligned(a: int, b: int) -> tuple[str, str]:
    """Both with as many digits, so that a digit's place says which it is."""
    width = max(len(str(a)), len(str(b)))
    return f"{a:0{width}}", f"{b:0{width}}"


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    """Digits of both from the ones on."""
    return [(int(x), int(y)) for x, y in zip(*(reversed(each) for each in _aligned(a, b)))]


_MORE = (
    ("[and |now |]plus {b}", "[and |now |]add {b}", "add {b} [to that|more|to it]", "and [if i add|with] {b} more", "then + {b}", "+ {b}"),
    ("[and |now |]minus {b}", "[and |now |]subtract {b}", "take away {b}", "take {b} [from that|from it|away]", "then - {b}", "- {b}"),
)


def goes_on(before: Answer, rng: random.Random, words: Words) -> Answer | None:
    """A follow-up on the result of a sum or difference, where that is one to go on from."""
    result = int(before.value)
    if not 0 <= result <= 999:
        return None
    b = number(rng)
    if rng.random() < 0.55:
        return add(result, b, question(words, expand_more(words, 0).format(b=b)))
    b = rng.randint(0, result) if rng.random() < 0.8 else b
    return subtract(result, b, question(words, expand_more(words, 1).format(b=b)))


def expand_more(words: Words, kind: int) -> str:
    return choose(words, _MORE[kind])
