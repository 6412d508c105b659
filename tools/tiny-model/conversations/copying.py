"""Echoing a text, and finding a field in a short one."""

from __future__ import annotations

import random

from .dialogue import Answer, Thoughts, choose, question
from .words import Words

_ECHO = (
    "[repeat|echo|say|please repeat|repeat after me|say after me|can you repeat|please say]: {text}",
    '[repeat|echo|say|please repeat|write|print|say the words|repeat this] "{text}"',
    "[repeat after me|echo|say|repeat|please say] {text}",
    '[please repeat|please write|now say|just write|just repeat|can you say] "{text}"',
    "[write|repeat|print] this: {text}",
)
_ECHO_HELD_OUT = ("[say this|echo this]: {text}", '[just say|please echo] "{text}"')
FIELDS = """name city age color country job price date status owner title size weight email phone street code team model brand room floor grade
level order total number material author language animal food sport hobby school gate platform seat""".split()
_TEST_FIELDS = "pet river captain flavor shade rank origin route shop dish instrument".split()
_WHAT = (
    "what is the {field}",
    "[what's|tell me|give me|find|extract|which is] the {field}",
    "{field}",
    "extract the {field} [from the text|from this text|]",
    "[i want|i want to know|show me|look up] the {field}",
    "what [is given|is written|does the text say] [for|as] the {field}",
)
_WHAT_HELD_OUT = ("i need the {field}", "what does it say for {field}")


def field_name(rng: random.Random, words: Words) -> str:
    if rng.random() < 0.35:
        return words.invented()
    return rng.choice(_TEST_FIELDS if words.split == "test" and rng.random() < 0.7 else FIELDS)


def value_for(rng: random.Random, words: Words, field: str) -> str:
    """A value of the kind that the field suggests; for others, anything."""
    match field:
        case "name" | "owner" | "author" | "captain":
            return words.name()
        case "city" | "origin":
            return words.city()
        case "age" | "floor" | "level" | "grade" | "number" | "total" | "order" | "price" | "seat" | "gate" | "rank" | "room":
            return str(rng.randint(1, 99 if field != "order" else 9999))
        case "weight" | "size":
            return f"{rng.randint(1, 99)} {rng.choice(('kg', 'cm', 'g', 'm'))}"
        case "email":
            return f"{words.invented()}@{words.invented()}.com"
        case "date":
            return f"{rng.randint(1, 28)} {rng.choice(('January', 'March', 'May', 'June', 'August', 'October'))}"
        case "brand" | "team":
            return words.company()
    return rng.choice((words.word, words.word, words.city, words.name, lambda: words.phrase(2), lambda: str(rng.randint(1, 999))))()


def record(rng: random.Random, words: Words, fewest: int = 2) -> dict[str, str]:
    """Fields with values, in the order in which they are written."""
    count = rng.randint(fewest, max(fewest, 4))
    fields: dict[str, str] = {}
    while len(fields) < count:
        field = field_name(rng, words)
        if field not in fields:
            fields[field] = value_for(rng, words, field)
    return fields


def written(rng: random.Random, fields: dict[str, str]) -> str:
    """A record as a text."""
    capital = rng.random() < 0.5
    colon = rng.choice((": ", ": ", ": ", " = ", " is "))
    parts = [f"{field.capitalize() if capital else field}{colon}{value}" for field, value in fields.items()]
    return rng.choice((", ", "\n", "; ", ", ")).join(parts)


def echo(rng: random.Random, words: Words) -> Answer:
    text = words.phrase(5) if rng.random() < 0.8 else f"{words.name()} {rng.choice(('likes', 'sees', 'has', 'wants'))} {words.phrase(2)}"
    if rng.random() < 0.1:
        text = str(rng.randint(0, 99999))
    asked = choose(words, _ECHO, _ECHO_HELD_OUT).format(text=text)
    asked = asked[0].upper() + asked[1:] if rng.random() < 0.7 else asked
    return Answer("echo", asked, Thoughts("Repeat it.", "I repeat the text.", f"The user wants me to repeat this text: {text}"), text, text)


def extraction(rng: random.Random, words: Words) -> Answer:
    if rng.random() < 0.3:
        return _from_sentence(rng, words)
    fields = record(rng, words)
    text = written(rng, fields)
    field = rng.choice(list(fields))
    ask = question(words, choose(words, _WHAT, _WHAT_HELD_OUT).format(field=field))
    asked = rng.choice((f"{text}. {ask}", f"{text}\n{ask}", f"{text}\n\n{ask}", f"{ask} {text}", f"{ask}\n{text}", f"Text: {text}. {ask}"))
    return found(asked, field, fields[field])


def found(asked: str, field: str, value: str) -> Answer:
    return Answer(
        "extraction",
        asked,
        Thoughts(f"{field}: {value}.", f"The text says {field}: {value}.", f"The user wants {field} from the text. The text says {field}: {value}. I answer with that."),
        value,
        value,
    )


def _from_sentence(rng: random.Random, words: Words) -> Answer:
    who, where, when = words.name(), words.city(), rng.choice(("Monday", "Tuesday", "Friday", "Sunday", "Saturday", "Thursday"))
    n, what = rng.randint(2, 60), f"{words.noun()}s"
    verb = rng.choice(("bought", "sold", "found", "saw", "sent", "ordered"))
    text = rng.choice(
        (
            f"{who} {verb} {n} {what} in {where} on {when}.",
            f"On {when}, {who} {verb} {n} {what} in {where}.",
            f"In {where}, {who} {verb} {n} {what} on {when}.",
        )
    )
    base = {"bought": "buy", "sold": "sell", "found": "find", "saw": "see", "sent": "send", "ordered": "order"}[verb]
    field, asked, value = rng.choice(
        (
            ("who", f"Who {verb} the {what}?", who),
            ("where", "Where was that?", where),
            ("where", f"In which city was {who}?", where),
            ("when", "On which day was that?", when),
            ("when", "When was that?", when),
            ("how many", f"How many {what} did {who} {base}?", str(n)),
            ("what", f"What did {who} {base}?", f"{n} {what}"),
        )
    )
    return found(rng.choice((f"{text} {asked}", f"{text}\n{asked}", f"{asked} {text}")), field, value)
