"""Answers in JSON, by a schema that is given."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

from . import arithmetic, numbers
from .copying import record, written
from .dialogue import Thoughts, choose, question
from .words import Words


@dataclasses.dataclass(frozen=True)
class Structured:
    response_format: dict[str, Any]
    asked: str
    thoughts: Thoughts
    final: str


def structured(rng: random.Random, words: Words) -> Structured:
    kind = rng.random()
    if kind < 0.15:
        sum_ = rng.choice((arithmetic.addition, arithmetic.subtraction))(rng, words)
        key = rng.choice(("result", "answer", "value", "sum", words.invented()))
        return _made(rng, {key: {"type": "integer"}}, sum_.question, sum_.thoughts, {key: int(sum_.value)})
    if kind < 0.27:
        list_ = numbers.sorting(rng, words)
        key = rng.choice(("sorted", "numbers", "result", "list", words.invented()))
        values = [int(value) for value in list_.value.split(", ")]
        return _made(rng, {key: {"type": "array", "items": {"type": "integer"}}}, list_.question, list_.thoughts, {key: values})
    fields = record(rng, words, fewest=1)
    wanted = [field for field in fields if rng.random() < 0.75] or list(fields)[:1]
    if rng.random() < 0.2:
        rng.shuffle(wanted)
    properties = {field: {"type": "integer" if fields[field].isdigit() else "string"} for field in wanted}
    values: dict[str, Any] = {field: int(fields[field]) if fields[field].isdigit() else fields[field] for field in wanted}
    text = written(rng, fields)
    ask = choose(words, ("[extract|find|give me|get|read] the [data|fields|details|information|record]", "[fill in|use] the schema", "as json", "[extract|parse] this", "what does [it|the text] say"))
    asked = rng.choice((f"{question(words, ask)} {text}", f"{text}. {question(words, ask)}", f"{text}\n{question(words, ask)}", text))
    listed, found = ", ".join(wanted), ", ".join(f"{field}: {fields[field]}" for field in wanted)
    thoughts = Thoughts(f"{found}.", f"JSON with {found}.", f"The schema wants {listed}. The text says {found}. I answer with JSON.")
    return _made(rng, properties, asked, thoughts, values)


def _made(rng: random.Random, properties: dict[str, Any], asked: str, thoughts: Thoughts, value: dict[str, Any]) -> Structured:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    if rng.random() < 0.6:
        schema["additionalProperties"] = False
    name = rng.choice(("answer", "result", "record", "output", "data", "response", "person", "item"))
    return Structured(
        {"type": "json_schema", "json_schema": {"name": name, "schema": schema}},
        asked,
        thoughts,
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    )
