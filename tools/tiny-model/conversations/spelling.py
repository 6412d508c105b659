"""Spelling and reversing words, and counting their letters."""

from __future__ import annotations

import random
import string

from .dialogue import Answer, Thoughts, choose, question
from .words import Words

_SPELL = (
    "[spell|please spell|can you spell|spell out|spell the word|how do you spell|how is the word] {word}[| for me| letter by letter]",
    "how do [you|i] spell [the word |]{word}",
    "[what are|list|give me] the letters [of|in] [the word |]{word}",
    "spell [it: |]{word}",
    "[show|tell|give|write] [me |]the [spelling|letters] of [the word |]{word}",
    "[show me|tell me|write] how to spell [the word |]{word}",
    "how is [the word |]{word} [spelled|written]",
    "[write|say|show me|give me] {word} [in letters|as letters|one letter at a time]",
    "what is the spelling of {word}",
)
_SPELL_HELD_OUT = ("show me how {word} is spelled", "write {word} letter by letter")
_REVERSE = (
    "[reverse|please reverse|can you reverse|turn around|reverse the word] {word}",
    "[spell|write|say] [the word |]{word} backwards",
    "what is {word} [backwards|reversed|spelled backwards]",
    "reverse [the letters of |]{word}",
    "{word} backwards",
    "[show|tell|give] me {word} [backwards|from the end|the other way round]",
    "how is {word} [spelled|written] backwards",
)
_REVERSE_HELD_OUT = ("give me {word} in reverse", "how do you write {word} backwards")
_COUNT = (
    "how many [times does|times is] {letter} [appear|occur] in {word}",
    "how many {letter}[| letters|'s|s] are [there |]in [the word |]{word}",
    "how many [letters |]{letter} [are|does] [there in|in] {word}",
    "count the [letter |]{letter}[|s|'s] in {word}",
    "how often does [the letter |]{letter} [appear|occur] in {word}",
    "how often do you [see|find] {letter} in {word}",
    "[tell me|find|what is] the number of [letters |]{letter} in {word}",
)
_COUNT_HELD_OUT = ("tell me how many {letter} you see in {word}", "number of {letter} in {word}")
_LENGTH = (
    "how many letters [are in|does|are there in|in] [the word |]{word} [have|]",
    "how long is [the word |]{word}",
    "count the letters [of|in] [the word |]{word}",
    "[what is the length of|length of] {word}",
)


def _word(rng: random.Random, words: Words) -> str:
    word = words.known() if rng.random() < 0.25 else words.word()
    return word.capitalize() if rng.random() < 0.04 else word


def _quoted(rng: random.Random, text: str) -> str:
    return rng.choice((text, text, text, f'"{text}"', f"'{text}'", f'"{text}"'))


def _numbered(word: str) -> str:
    """Each letter after its number: to go backwards is then to count down and look up."""
    return " ".join(f"{place}{letter}" for place, letter in enumerate(word, 1))


def spelling(rng: random.Random, words: Words) -> Answer:
    word = _word(rng, words)
    return spell(word, question(words, choose(words, _SPELL, _SPELL_HELD_OUT).format(word=_quoted(rng, word))))


def reversing(rng: random.Random, words: Words) -> Answer:
    word = _word(rng, words)
    return reverse(word, question(words, choose(words, _REVERSE, _REVERSE_HELD_OUT).format(word=_quoted(rng, word))))


def counting(rng: random.Random, words: Words) -> Answer:
    word = _word(rng, words).lower()
    letter = rng.choice(word) if rng.random() < 0.75 else rng.choice(string.ascii_lowercase)
    template = choose(words, _COUNT, _COUNT_HELD_OUT)
    shown = letter if rng.random() < 0.7 else f'"{letter}"'
    return count(letter, word, question(words, template.format(letter=shown, word=_quoted(rng, word))))


def measuring(rng: random.Random, words: Words) -> Answer:
    word = _word(rng, words)
    return measure(word, question(words, choose(words, _LENGTH).format(word=_quoted(rng, word))))


def spell(word: str, asked: str) -> Answer:
    spelled = "-".join(word)
    letters = " ".join(word)
    return Answer(
        "spelling",
        asked,
        Thoughts(f"{word}.", f"The letters of {word}: {letters}.", f"The user wants {word} spelled. Number the letters. {_numbered(word)}. That makes {len(word)} letters."),
        spelled,
        spelled,
    )


def reverse(word: str, asked: str) -> Answer:
    backwards = word[::-1]
    steps = f"{_numbered(word)}, back: {_backwards(word)}"
    return Answer(
        "reversing",
        asked,
        Thoughts(
            low=f"{steps}.",
            medium=f"Number the letters, then go back. {steps}. So {backwards}.",
            high=f"The user wants {word} backwards. Number the letters, then go back from the last to the first. {steps}. Together: {backwards}.",
        ),
        backwards,
        backwards,
    )


def _backwards(word: str) -> str:
    return " ".join(f"{place}{letter}" for place, letter in reversed(list(enumerate(word, 1))))


def count(letter: str, word: str, asked: str) -> Answer:
    seen, steps = 0, []
    for each in word:
        seen += each == letter
        steps.append(f"{each}{seen}")
    times = f"{seen} time{'' if seen == 1 else 's'}"
    counted = f"{letter} in {word}: {' '.join(steps)}"
    return Answer(
        "counting letters",
        asked,
        Thoughts(
            low=f"{counted}.",
            medium=f"Count {counted}. So {seen}.",
            high=f"The user wants to know how often {letter} is in {word}. Go from letter to letter, and count {counted}. So {seen} in all.",
        ),
        f'"{letter}" appears {times}.',
        str(seen),
    )


def measure(word: str, asked: str) -> Answer:
    size = f"{len(word)} letters"
    numbered = _numbered(word)
    return Answer(
        "counting letters",
        asked,
        Thoughts(f"{numbered}.", f"Number the letters. {numbered}. So {len(word)}.", f"The user wants the length of {word}. Number the letters. {numbered}. The last number is {len(word)}."),
        f"It has {size}.",
        str(len(word)),
    )


def goes_on(before: Answer, rng: random.Random, words: Words) -> Answer:
    """A follow-up on the word that was spelled or reversed."""
    word = before.value.replace("-", "")
    if before.task == "reversing":
        word = word[::-1]
    kind = rng.randrange(4)
    if kind == 0 and before.task != "reversing":
        return reverse(word, question(words, choose(words, ("and backwards", "now backwards", "and reversed", "[and|now] spell it backwards"))))
    if kind == 0 or kind == 1 and before.task != "spelling":
        return spell(word, question(words, choose(words, ("[and|now] spell it", "how is [it|that word] spelled", "and letter by letter"))))
    if kind == 2:
        return measure(word, question(words, choose(words, ("how many letters does it have", "[and |]how many letters are [that|in it]"))))
    letter = rng.choice(word.lower())
    asked = choose(words, ("[and |]how many {letter}[s|] are in it", "how often does {letter} appear in it", "how many {letter}")).format(letter=letter)
    return count(letter, word.lower(), question(words, asked))
