"""Unit conversion by whole factors."""

from __future__ import annotations

import dataclasses
import random

from .dialogue import Answer, Thoughts, choose, question
from .words import Words


@dataclasses.dataclass(frozen=True)
class _Pair:
    large: str
    larges: str
    large_symbol: str
    small: str
    smalls: str
    small_symbol: str
    factor: int


_PAIRS = (
    _Pair("kilometer", "kilometers", "km", "meter", "meters", "m", 1000),
    _Pair("meter", "meters", "m", "centimeter", "centimeters", "cm", 100),
    _Pair("centimeter", "centimeters", "cm", "millimeter", "millimeters", "mm", 10),
    _Pair("kilogram", "kilograms", "kg", "gram", "grams", "g", 1000),
    _Pair("liter", "liters", "l", "milliliter", "milliliters", "ml", 1000),
    _Pair("hour", "hours", "h", "minute", "minutes", "min", 60),
    _Pair("minute", "minutes", "min", "second", "seconds", "s", 60),
    _Pair("day", "days", "days", "hour", "hours", "hours", 24),
    _Pair("week", "weeks", "weeks", "day", "days", "days", 7),
    _Pair("year", "years", "years", "month", "months", "months", 12),
    _Pair("foot", "feet", "ft", "inch", "inches", "in", 12),
    _Pair("dollar", "dollars", "dollars", "cent", "cents", "cents", 100),
)
_ASK = (
    "[convert|please convert|can you convert|change|turn] {n} {source} [to|into|in] {target}",
    "how many {target} are [in |there in |]{n} {source}",
    "how many {target} [is|make|are] {n} {source}",
    "what is {n} {source} in {target}",
    "{n} {source} [in|to|=] [how many |]{target}",
    "{n} {source} in {target}",
    "[write|give|tell|show|say] [me |]{n} {source} [as|in] {target}",
    "express {n} {source} as {target}",
    "[tell me|find|work out] how many {target} there are in {n} {source}",
    "how many {target} would {n} {source} be",
)
_ASK_HELD_OUT = ("express {n} {source} in {target}", "tell me how many {target} {n} {source} are")


def conversion(rng: random.Random, words: Words) -> Answer:
    pair = rng.choice(_PAIRS)
    n = rng.randint(1, 12 if rng.random() < 0.6 or pair.factor % 10 else 99)
    down = rng.random() < 0.7
    symbols = rng.random() < 0.3
    large = pair.large_symbol if symbols else pair.large if n == 1 and rng.random() < 0.8 else pair.larges
    small = pair.small_symbol if symbols else pair.smalls
    given, source, target = (n, large, small) if down else (n * pair.factor, small, pair.large_symbol if symbols else pair.larges)
    asked = question(words, choose(words, _ASK, _ASK_HELD_OUT).format(n=given, source=source, target=target))
    return convert(pair, given, n if not down else n * pair.factor, down, asked)


def convert(pair: _Pair, given: int, result: int, down: bool, asked: str) -> Answer:
    def unit(count: int, large: bool) -> str:
        return (pair.large if count == 1 else pair.larges) if large else (pair.small if count == 1 else pair.smalls)

    sign = "*" if down else "/"
    rule = f"1 {pair.large} = {pair.factor} {pair.smalls}"
    sum_ = f"{given}{sign}{pair.factor}={result}"
    tens, ones = given // 10 * 10, given % 10
    if down and given > 12 and ones and pair.factor not in (10, 100, 1000):
        sum_ = f"{tens}*{pair.factor}={tens * pair.factor}, {ones}*{pair.factor}={ones * pair.factor}, {sum_}"
    final = f"{given} {unit(given, down)} = {result} {unit(result, not down)}"
    return Answer(
        "units",
        asked,
        Thoughts(f"{sum_}.", f"{rule}. {sum_}.", f"{rule}. The question goes from {pair.larges if down else pair.smalls} to {pair.smalls if down else pair.larges}, so {'multiply' if down else 'divide'} by {pair.factor}. {sum_}."),
        final,
        str(result),
    )
