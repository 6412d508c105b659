"""Comparing numbers up to 999, and sorting lists of numbers up to 99."""

from __future__ import annotations

import random

from .arithmetic import number
from .dialogue import Answer, Thoughts, choose, question
from .words import Words

_WHICH = (
    "which [number |one |]is {word}, {a} or {b}",
    "which [number |one |]is {word}: {a} or {b}",
    "what is {word}, {a} or {b}",
    "[compare|please compare] {a} and {b}. which is {word}",
    "{a} or {b}: which is {word}",
    "tell me which is {word}: {a} or {b}",
    "[take|look at] {a} and {b}: which [one |]is {word}",
    "i have {a} and {b}. which [one |]is {word}",
)
_WHICH_HELD_OUT = ("of {a} and {b}, which is {word}", "between {a} and {b}, which one is {word}")
_IS = ("is {a} {word} than {b}", "is it true that {a} is {word} than {b}", "is {a} really {word} than {b}")
_SORT = (
    "[sort|order|arrange|please sort|can you sort] [these numbers|the numbers|]: {list}",
    "[sort|order|arrange|put] {list} [in|into] {direction} order",
    "[sort|order|arrange] [these numbers|the numbers|] in {direction} order: {list}",
    "sort {list} from {ends}",
    "[sort|order|put] these [numbers |]from {ends}: {list}",
    "what is {list} in {direction} order",
    "[i have|these are] [the |]numbers {list}. [put|sort|order] them in {direction} order",
    "[give me|show me|write|i want] {list} in {direction} order",
    "[i need|show me] these [numbers |]from {ends}: {list}",
)
_SORT_HELD_OUT = ("here are some numbers: {list}. sort them in {direction} order", "give me {list} sorted from {ends}")
_EXTREME = (
    "[what is|what's|find|tell me|give me|which is] the {word} [number |]of {list}",
    "[what is|find|which is] the {word} [number|one] [in|among] {list}",
    "which of {list} is the {word}",
)


def comparison(rng: random.Random, words: Words) -> Answer:
    a, b = number(rng), number(rng)
    if rng.random() < 0.35:
        b = a if rng.random() < 0.1 else min(999, max(0, a + rng.randint(-12, 12)))
    larger = rng.random() < 0.5
    if rng.random() < 0.3:
        word = rng.choice(("larger", "greater", "bigger", "more")) if larger else rng.choice(("smaller", "less"))
        asked = question(words, choose(words, _IS).format(a=a, b=b, word=word))
        true = a > b if larger else a < b
        sign = ">" if larger else "<"
        thoughts = _compare(a, b, f"{a}{sign}{b}: {'yes' if true else 'no'}")
        relation = "is equal to" if a == b else "is larger than" if a > b else "is smaller than"
        return Answer("comparison", asked, thoughts, f"{'Yes' if true else 'No'}, {a} {relation} {b}.", "Yes" if true else "No")
    word = rng.choice(("larger", "greater", "bigger", "the larger", "the greater")) if larger else rng.choice(("smaller", "less", "the smaller"))
    asked = question(words, choose(words, _WHICH, _WHICH_HELD_OUT).format(a=a, b=b, word=word))
    kind = "larger" if larger else "smaller"
    if a == b:
        return Answer("comparison", asked, _compare(a, b, f"{kind}: none"), "They are equal.", "equal")
    winner, loser = (max(a, b), min(a, b)) if larger else (min(a, b), max(a, b))
    return Answer("comparison", asked, _compare(a, b, f"{kind}: {winner}"), f"{winner} is {kind} than {loser}.", str(winner))


def _compare(a: int, b: int, outcome: str) -> Thoughts:
    """`outcome` follows from the two in ascending order."""
    width = max(len(str(a)), len(str(b)))
    first, second = f"{a:0{width}}", f"{b:0{width}}"
    ordered = ("=" if a == b else "<").join(sorted((first, second)))
    pairs = []
    for x, y in zip(first, second):
        pairs.append(f"{x}{'=' if x == y else '>' if x > y else '<'}{y}")
        if x != y:
            break
    why = f"{first} {second}: {', '.join(pairs)}, so {ordered}, {outcome}"
    return Thoughts(
        f"{why}.",
        f"Compare the digits from the left. {why}.",
        f"The user wants {a} and {b} compared. Compare the digits from the left, up to the first that differ. {why}.",
    )


def sorting(rng: random.Random, words: Words) -> Answer:
    values = _values(rng)
    descending = rng.random() < 0.35
    directed = rng.random() < 0.8 or descending
    template = choose(words, _SORT, _SORT_HELD_OUT)
    while directed != ("{direction}" in template or "{ends}" in template):
        template = choose(words, _SORT, _SORT_HELD_OUT)
    direction = rng.choice(("descending", "decreasing") if descending else ("ascending", "increasing"))
    up = ("smallest to largest", "low to high", "small to large", "least to greatest")
    down = ("largest to smallest", "high to low", "large to small", "greatest to least")
    asked = template.format(list=_listed(rng, values), direction=direction, ends=rng.choice(down if descending else up))
    return sort(values, descending, question(words, asked))


def sort(values: list[int], descending: bool, asked: str) -> Answer:
    ordered = sorted(values, reverse=descending)
    listed = ", ".join(map(str, ordered))
    word = "largest" if descending else "smallest"
    sign = ">=" if descending else "<="
    steps = _selection(values, ordered, word)
    return Answer(
        "sorting",
        asked,
        Thoughts(
            low=f"{steps}.",
            medium=f"Take the {word} of what is left. {steps}. So {listed}.",
            high=f"The user wants {len(values)} numbers sorted. Take the {word} of what is left, again and again. {steps}. So {listed}. "
            f"Check: {sign.join(map(str, ordered))}.",
        ),
        listed,
        listed,
    )


def _selection(values: list[int], ordered: list[int], word: str) -> str:
    """What is left and the next of it, step by step: selection sort.

    Letters tell equal and like numbers apart, so that the one that is taken is the one that is missing in the next step.
    """
    width = max(len(str(value)) for value in values)
    left, steps = list(zip("abcdef", values)), []
    for value in ordered:
        taken = next(each for each in left if each[1] == value)
        steps.append(f"{' '.join(f'{letter}{each:0{width}}' for letter, each in left)}: {value:0{width}}{taken[0]}")
        left.remove(taken)
    return f"{word} {', '.join(steps)}"


def extreme(rng: random.Random, words: Words) -> Answer:
    values = _values(rng)
    largest = rng.random() < 0.5
    word = rng.choice(("largest", "biggest", "greatest", "highest") if largest else ("smallest", "lowest", "least"))
    asked = question(words, choose(words, _EXTREME).format(list=_listed(rng, values), word=word))
    best = max(values) if largest else min(values)
    kind = "largest" if largest else "smallest"
    step = _selection(values, [best], kind)
    return Answer(
        "largest and smallest",
        asked,
        Thoughts(
            low=f"{step}.",
            medium=f"Take the {kind} of them. {step}. So {best}.",
            high=f"The user wants one of {len(values)} numbers. Take the {kind} of them. {step}. So {best}.",
        ),
        f"The {kind} is {best}.",
        str(best),
    )


def _values(rng: random.Random) -> list[int]:
    largest = rng.choice((9, 20, 99, 99))
    return [rng.randint(0, largest) for _ in range(rng.randint(3, 6))]


def _listed(rng: random.Random, values: list[int]) -> str:
    text = [str(value) for value in values]
    if rng.random() < 0.15:
        return " ".join(text)
    return ", ".join(text) if rng.random() < 0.7 else f"{', '.join(text[:-1])} and {text[-1]}"
