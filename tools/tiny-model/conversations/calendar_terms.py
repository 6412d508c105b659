"""Days of the week and months of the year."""

from __future__ import annotations

import random

from .dialogue import Answer, Thoughts, choose, question
from .words import Words

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MOVES = (
    "[what|which] {unit} [is it|is|comes|will it be] {n} {units} {way} {start}",
    "{n} {units} {way} {start}",
    "[tell me|] what {unit} is {n} {units} {way} {start}",
    "it is {start}. what {unit} [will it be in {n} {units}|is it in {n} {units}]",
    "if today is {start}, what {unit} is it in {n} {units}",
    "[go|move] {n} {units} [on |]{way} {start}. [which|what] {unit} is [that|it]",
    "find the {unit} {n} {units} {way} {start}",
)
_MOVES_HELD_OUT = ("starting from {start}, which {unit} is {n} {units} {way} it", "count {n} {units} {way} {start}")
_NEXT = (
    "[what|which] {unit} [comes|is] [right |just |]{way} {start}",
    "what {unit} [follows|comes after] {start}",
)
_TODAY = ("if today is {start}, what [day |]is [tomorrow|it tomorrow]", "today is {start}. what [day |]was [yesterday|it yesterday]")


def calendar(rng: random.Random, words: Words) -> Answer:
    kind = rng.random()
    if kind < 0.1:
        return _length(rng, words)
    names = DAYS if rng.random() < 0.55 else MONTHS
    unit = "day" if names is DAYS else "month"
    start = rng.randrange(len(names))
    if kind < 0.25:
        back = rng.random() < 0.5
        if names is DAYS and rng.random() < 0.5:
            asked = choose(words, _TODAY[back : back + 1]).format(start=names[start])
        elif rng.random() < 0.3:
            back, asked = False, choose(words, _NEXT[1:]).format(unit=unit, start=names[start])
        else:
            asked = choose(words, _NEXT[:1]).format(unit=unit, way="before" if back else "after", start=names[start])
        return move(names, start, -1 if back else 1, question(words, asked))
    n = rng.randint(1, 10 if rng.random() < 0.6 else 30 if names is DAYS else 24)
    template = choose(words, _MOVES, _MOVES_HELD_OUT)
    back = rng.random() < 0.4 and "{way}" in template
    units = unit if n == 1 else f"{unit}s"
    asked = template.format(unit=unit, units=units, n=n, way="before" if back else "after", start=names[start])
    return move(names, start, -n if back else n, question(words, asked))


def move(names: list[str], start: int, steps: int, asked: str) -> Answer:
    size, n = len(names), abs(steps)
    sign = 1 if steps > 0 else -1
    rounds, rest = divmod(n, size)
    path = [names[(start + sign * step) % size] for step in range(1, rest + 1)]
    result = names[(start + steps) % size]
    over = f"{n}={size}*{rounds}+{rest}. " if rounds else ""
    way = "after" if sign > 0 else "before"
    walk = ", ".join(f"{step} {name}" for step, name in enumerate(path, 1)) if path else "no step"
    unit = "days" if names is DAYS else "months"
    steps = f"{over}{rest} {way} {names[start]}: {walk}"
    return Answer(
        "calendar",
        asked,
        Thoughts(
            low=f"{steps}.",
            medium=f"Go from {unit[:-1]} to {unit[:-1]}. {steps}. So {result}.",
            high=f"The user wants {n} {unit} {way} {names[start]}. There are {size} in a round. Go from {unit[:-1]} to {unit[:-1]}. {steps}. So {result}.",
        ),
        f"{result}",
        result,
        )


def _length(rng: random.Random, words: Words) -> Answer:
    if rng.random() < 0.3:
        unit, whole, size = rng.choice((("days", "week", 7), ("months", "year", 12)))
        asked = choose(words, ("how many {unit} [are in|are there in|does] a {whole} [have|]",)).format(unit=unit, whole=whole)
        return _fact(words, asked, f"A {whole} has {size} {unit}.", str(size))
    month = rng.randrange(12)
    asked = choose(words, ("how many days [are in|are there in|does|has] {month} [have|]", "how long is {month}")).format(month=MONTHS[month])
    return _fact(words, asked, f"{MONTHS[month]} has {_LENGTHS[month]} days.", str(_LENGTHS[month]))


def _fact(words: Words, asked: str, fact: str, value: str) -> Answer:
    return Answer("calendar", question(words, asked), Thoughts("I know this.", f"I know this: {value}.", f"This is a fact that I know: {fact}"), fact, value)


def goes_on(before: Answer, rng: random.Random, words: Words) -> Answer | None:
    names = DAYS if before.value in DAYS else MONTHS if before.value in MONTHS else None
    if names is None:
        return None
    unit = "day" if names is DAYS else "month"
    n = rng.randint(1, 8)
    asked = choose(words, ("and {n} {units} [later|after that]", "what about {n} {units} [later|after that]", "[and |]{n} {units} more"))
    start = names.index(before.value)
    return move(names, start, n, question(words, asked.format(n=n, units=unit if n == 1 else f"{unit}s")))
