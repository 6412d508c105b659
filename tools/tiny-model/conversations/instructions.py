"""System instructions that change how an answer is written, and ones that change nothing."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from .dialogue import Answer, choose, expand
from .talk import IDENTITY
from .words import Words


@dataclasses.dataclass(frozen=True)
class Instruction:
    kind: str
    text: str
    apply: Callable[[Answer], str]


_UPPER = (
    "[answer|reply|respond|write|always answer|always reply|please answer|answer only] in [upper case|capital letters|uppercase|all caps|capitals]",
    "use [only |]capital letters [in your answers|]",
    "[you are a bot that answers|answer all questions] in [upper case|capital letters]",
)
_UPPER_HELD_OUT = ("every answer must be in upper case", "write everything in capital letters")
_LOWER = (
    "[answer|reply|respond|write|always answer|always reply|please answer] in [lower case|lowercase|small letters]",
    "use only [lower case|lowercase] [letters|]",
)
_EXCLAIM = ("end [every answer|each answer|your answers|all answers] with [an exclamation mark|'!'|!]",)
_START = ("[start|begin|always start|always begin] [every answer|each answer|your answers|all answers|your reply] with [the word |]{word}",)
_END = ("[end|finish|always end] [every answer|each answer|your answers|all answers|your reply] with [the word |]{word}",)
_ONLY = (
    "[answer|reply|respond] with [the result only|only the result|nothing but the result|just the result]",
    "[give|say|return] [only the result|the result only|just the result]",
)
_ONLY_HELD_OUT = ("i want the result only",)
_NAME = ("your name is {name}", "you are [called|named] {name}", "you are {name}[, a helpful assistant| from {company}|]")
_NEUTRAL = (
    "you are a [helpful|friendly|kind|smart|useful|polite|careful] [assistant|bot|model|ai assistant|helper]",
    "[be|please be|always be] [helpful|friendly|kind|polite|brief|concise|careful|honest|short]",
    "you [help|work for|assist] [the customers of |the users of |people at |]{company}",
    "you are an assistant [for|at|of] {company}",
    "[answer|help] [the user's questions|the user|all questions|customers]",
    "today is a {adjective} day",
    "you answer questions about [numbers|words|{noun}s]",
)


def instruction(rng: random.Random, words: Words) -> Instruction:
    kind = rng.choices(
        ("neutral", "upper", "lower", "exclaim", "start", "end", "only", "name"), (36, 16, 6, 8, 10, 7, 9, 8)
    )[0]
    word, name = rng.choice((words.word(), words.word().capitalize(), "Sure", "OK", "Yes", "Done")), words.name()

    def told(common: tuple[str, ...], held_out: tuple[str, ...] = ()) -> str:
        text = choose(words, common, held_out).format(
            word=rng.choice((word, f'"{word}"', f'"{word}"')),
            name=name,
            company=words.company(),
            adjective=words.adjective(),
            noun=words.noun(),
        )
        text = text[0].upper() + text[1:] if rng.random() < 0.8 else text
        text += rng.choice((".", ".", ""))
        if kind != "neutral" and rng.random() < 0.2:
            text = expand(rng, "You are a [helpful |friendly |]assistant. ") + " " + text
        return text

    match kind:
        case "upper":
            return Instruction(kind, told(_UPPER, _UPPER_HELD_OUT), lambda answer: answer.final.upper())
        case "lower":
            return Instruction(kind, told(_LOWER), lambda answer: answer.final.lower())
        case "exclaim":
            return Instruction(kind, told(_EXCLAIM), lambda answer: answer.final.rstrip(".!?") + "!")
        case "start":
            return Instruction(kind, told(_START), lambda answer: f"{word} {answer.final}")
        case "end":
            return Instruction(kind, told(_END), lambda answer: f"{answer.final} {word}")
        case "only":
            return Instruction(kind, told(_ONLY, _ONLY_HELD_OUT), lambda answer: answer.value)
        case "name":
            return Instruction(kind, told(_NAME), lambda answer: answer.final.replace(IDENTITY, f"I am {name}."))
    return Instruction(kind, told(_NEUTRAL), lambda answer: answer.final)
