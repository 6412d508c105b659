"""Calling functions that were never seen before, and using what they return."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from typing import Any

from .calendar_terms import DAYS
from .copying import FIELDS
from .dialogue import Thoughts, choose, question
from .words import Words


@dataclasses.dataclass(frozen=True)
class Need:
    """A function, a question that needs it, and the call that answers it."""

    definition: dict[str, Any]
    asked: str
    subject: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        return self.definition["function"]["name"]

    def call(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False, separators=(",", ":"))

    def purpose(self) -> str:
        """What the function is for, in the words of its description, from the words on that the question shares with it."""
        described = self.definition["function"].get("description", "").removesuffix(".")
        if not described:
            return f"{self.subject[0].upper()}{self.subject[1:]}"
        return re.sub("^(Gets?|Returns) the ", "The ", described)

    def thoughts(self) -> Thoughts:
        given = ", ".join(f"{key} {value}" for key, value in self.arguments.items()) or "nothing"
        return Thoughts(
            f"{self.purpose()}: {self.name}.",
            f"The user wants {self.subject}. {self.purpose()}: {self.name}.",
            f"The user wants {self.subject}. {self.purpose()}: {self.name}. It takes {given}. I call {self.name}.",
        )


_GET = "get get get find fetch lookup read check show query retrieve load".split()
"""Verbs of functions that return something, the commonest thrice."""
_DO = "send create delete open close start stop play book set add cancel update print move".split()
_SUBJECTS = """weather|current weather|weather|forecast|temperature|time|local time|stock price|price|exchange rate|news|traffic|schedule|opening hours|population|balance|
order status|status|distance|tide level|bus schedule|train times|flight status|address|phone number|inventory|humidity|wind speed|air quality|score|ranking|
menu|calendar|rating|review|profile|invoice|delivery date|shipping cost|salary|battery level|version|license|password hint|room size""".replace("\n", "").split("|")
_TEST_SUBJECTS = "pollen count|snow depth|water level|ticket price|parking fee|moon phase|queue length|wave height|sunrise|fuel price|rent|visa rules|dress code|warranty".split("|")
_OBJECTS = "message|email|alarm|timer|file|meeting|ticket|song|room|door|window|light|task|note|reminder|table|video|invoice|photo|order|report".split("|")
_TEST_OBJECTS = "parcel|playlist|gate|printer|contract|poll|robot|folder".split("|")
_TARGETS = "city city location location place country company symbol person name item product id station user street team customer account device code title key".split()
_TEST_TARGETS = "harbor vendor pupil sensor island village client machine".split()


def need(rng: random.Random, words: Words) -> Need:
    kind = rng.random()
    if kind < 0.12:
        return _known(rng, words)
    return _lookup(rng, words) if kind < 0.75 else _action(rng, words)


def distractor(rng: random.Random, words: Words, wanted: Need) -> dict[str, Any]:
    """A function for something else; often one that looks like the wanted one, but for what it is for."""
    while True:
        other = need(rng, words)
        if other.name == wanted.name or set(other.subject.split()) & set(wanted.subject.split()) - {"the", "to", "a"}:
            continue
        return _alike(wanted.definition, other.definition) if rng.random() < 0.35 else other.definition


def _alike(wanted: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Another function with the verb (if it has one) and the parameters of the wanted one."""
    verb, joined, _ = wanted["function"]["name"].partition("_")
    before, between, after = other["function"]["name"].partition("_")
    name = f"{verb}_{after}" if joined and between and verb in _GET and before in _GET else other["function"]["name"]
    return {"type": "function", "function": {**other["function"], "name": name, "parameters": wanted["function"].get("parameters", {"type": "object", "properties": {}})}}


def _lookup(rng: random.Random, words: Words) -> Need:
    subject = _term(rng, words, _SUBJECTS, _TEST_SUBJECTS)
    name = _function_name(rng, rng.choice(_GET), subject)
    style = rng.random()
    if style < 0.08:
        asked = choose(words, ("what is the {s}", "[get|show me|tell me|find|check] the {s}", "{s}")).format(s=subject)
        return Need(_define(rng, name, f"Get the {subject}", {}), question(words, asked), f"the {subject}", {})
    target = _target(rng, words)
    value = _value(rng, words, target)
    join = "in" if target in ("city", "location", "place", "country", "village", "island") and rng.random() < 0.6 else rng.choice(("of", "for"))
    asked = choose(
        words,
        (
            "[what is|what's|tell me|get|find|show me|check|give me|look up|i need|can you get|please get|i want] the {s} {join} {v}",
            "[what is|tell me|get|show me] the {s} {join} [the |]{t} {v}",
            "[what|how] is the {s} {join} {v} [now|today|]",
            "{s} {join} {v}",
        ),
        ("do you know the {s} {join} {v}", "look up the {s} {join} {v}"),
    ).format(s=subject, join=join, v=value, t=target)
    parameters: dict[str, dict[str, Any]] = {target: _string(rng, f"The {target}")}
    arguments: dict[str, Any] = {target: value}
    extra = rng.random()
    if extra < 0.14:
        day = rng.choice(DAYS)
        parameters["day"] = _string(rng, "The day of the week")
        arguments["day"] = day
        asked += f" on {day}"
    elif extra < 0.28:
        key = rng.choice(("days", "limit", "count", "hours", "year", "page", words.invented()))
        n = rng.randint(1, 99) if key != "year" else rng.randint(1990, 2030)
        parameters[key] = {"type": "integer", **_described(rng, f"The {key}")}
        arguments[key] = n
        asked += rng.choice((f" with {key} {n}", f", {key} {n}", f" and {key} {n}"))
    elif extra < 0.42:
        key, options = rng.choice((("unit", ["celsius", "fahrenheit"]), ("language", ["english", "german", "french"]), ("format", ["short", "long"])))
        parameters[key] = {"type": "string", "enum": options, **_described(rng, f"The {key}")}
        if rng.random() < 0.65:
            chosen = rng.choice(options)
            arguments[key] = chosen
            asked += rng.choice((f" in {chosen}", f", {key} {chosen}", f" with {key} {chosen}"))
    elif extra < 0.55:
        key = rng.choice((*FIELDS, words.invented()))
        if key not in parameters:
            parameters[key] = _string(rng, f"The {key}")
            if rng.random() < 0.7:
                arguments[key] = _value(rng, words, key)
                asked += rng.choice((f" with {key} {arguments[key]}", f" and {key} {arguments[key]}", f", {key} {arguments[key]}"))
    required = [key for key in parameters if key in arguments]
    what = rng.choice((f"Get the {subject} {join} a {target}", f"Gets the {subject} {join} the given {target}", f"Returns the {subject} {join} a {target}", f"The {subject} {join} a {target}"))
    return Need(_define(rng, name, what, parameters, required), question(words, asked), f"the {subject} {join} {value}", arguments)


def _action(rng: random.Random, words: Words) -> Need:
    verb, thing = rng.choice(_DO), _term(rng, words, _OBJECTS, _TEST_OBJECTS)
    name = _function_name(rng, verb, thing)
    target = _target(rng, words)
    value = _value(rng, words, target)
    asked = choose(
        words,
        ("[please |can you |]{verb} [the|a] {thing} {join} {v}", "[please |]{verb} [the|a] {thing} with {t} {v}", "[please |]{verb} {thing} {v}"),
        ("i want you to {verb} the {thing} {join} {v}",),
    ).format(verb=verb, thing=thing, join=rng.choice(("for", "of", "called", "named")), v=value, t=target)
    parameters: dict[str, dict[str, Any]] = {target: _string(rng, f"The {target}")}
    arguments: dict[str, Any] = {target: value}
    if rng.random() < 0.35:
        key = rng.choice(("text", "minutes", "number", "note", words.invented()))
        if key in ("minutes", "number"):
            parameters[key], arguments[key] = {"type": "integer", **_described(rng, f"The {key}")}, rng.randint(1, 99)
        else:
            parameters[key], arguments[key] = _string(rng, f"The {key}"), words.phrase(3)
        asked += f" {rng.choice(('with', 'and'))} {key} {arguments[key]}"
    return Need(_define(rng, name, f"{verb.capitalize()} a {thing}", parameters, list(parameters)), question(words, asked), f"to {verb} the {thing}", arguments)


def _known(rng: random.Random, words: Words) -> Need:
    """Functions that everyone tries first."""
    city = words.city()
    kind = rng.randrange(4)
    if kind <= 1:
        target = rng.choice(("location", "city"))
        parameters: dict[str, dict[str, Any]] = {target: _string(rng, "The city and state, e.g. San Francisco, CA")}
        arguments: dict[str, Any] = {target: city}
        asked = choose(words, ("[what is|what's|how is|tell me|get] the [current |]weather [like |]in {city} [today|now|]", "is it [raining|sunny|cold|warm] in {city} [today|now|]", "weather in {city}")).format(city=city)
        if rng.random() < 0.5:
            key = rng.choice(("unit", "format"))
            parameters[key] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
            if rng.random() < 0.4:
                arguments[key] = rng.choice(("celsius", "fahrenheit"))
                asked += f" in {arguments[key]}"
        name = rng.choice(("get_weather", "get_current_weather", "weather"))
        what = rng.choice(("Get the current weather in a given location", "Gets the current weather in the provided location.", "Get current temperature for a given location."))
        return Need(_define(rng, name, what, parameters, [target]), question(words, asked), f"the weather in {city}", arguments)
    if kind == 2:
        query = words.phrase(3)
        asked = choose(words, ("search [the web |]for {q}", "look up {q}", "[find|google] {q}")).format(q=query)
        return Need(_define(rng, rng.choice(("search", "web_search", "search_web")), "Search the web", {"query": _string(rng, "The search query")}, ["query"]), question(words, asked), f"to search for {query}", {"query": query})
    target = rng.choice(("city", "timezone", "location"))
    asked = choose(words, ("what time is it in {city} [now|]", "[what is|tell me] the [current |]time in {city}")).format(city=city)
    return Need(_define(rng, rng.choice(("get_time", "get_current_time", "current_time")), "Get the current time", {target: _string(rng, f"The {target}")}, [target]), question(words, asked), f"the time in {city}", {target: city})


def _term(rng: random.Random, words: Words, common: list[str], held_out: list[str]) -> str:
    if rng.random() < 0.4:
        return " ".join(words.word() for _ in range(rng.choice((1, 1, 2))))
    return rng.choice(held_out if words.split == "test" and rng.random() < 0.7 else common)


def _target(rng: random.Random, words: Words) -> str:
    if rng.random() < 0.25:
        return words.invented()
    return rng.choice(_TEST_TARGETS if words.split == "test" and rng.random() < 0.6 else _TARGETS)


def _value(rng: random.Random, words: Words, key: str) -> str:
    match key:
        case "city" | "location" | "place" | "village" | "island" | "harbor":
            return words.city()
        case "country" | "company" | "team" | "vendor":
            return words.company()
        case "symbol" | "code" | "id" | "key":
            return rng.choice((words.invented(1).upper(), f"{words.invented(1)[:2].upper()}{rng.randint(1, 999)}"))
        case "person" | "name" | "user" | "customer" | "pupil" | "client" | "owner" | "author":
            return words.name()
    return rng.choice((words.word, words.name, words.city, words.company, words.invented))()


def _function_name(rng: random.Random, verb: str, subject: str) -> str:
    parts = [verb, *subject.split()]
    style = rng.random()
    if style < 0.72:
        return "_".join(parts)
    if style < 0.88:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts[1:]) if len(parts) > 2 or style < 0.94 else "-".join(parts)


def _described(rng: random.Random, text: str) -> dict[str, str]:
    return {"description": text + rng.choice(("", "."))} if rng.random() < 0.5 else {}


def _string(rng: random.Random, text: str) -> dict[str, Any]:
    return {"type": "string", **_described(rng, text)}


def _define(rng: random.Random, name: str, what: str, parameters: dict[str, dict[str, Any]], required: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": parameters}
    if required:
        schema["required"] = required
    function: dict[str, Any] = {"name": name}
    if rng.random() < 0.9:
        function["description"] = what + rng.choice(("", "."))
    if parameters or rng.random() < 0.6:
        function["parameters"] = schema
    return {"type": "function", "function": function}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a function returned, and what the model makes of it."""

    content: str
    thoughts: Thoughts
    final: str


def outcome(rng: random.Random, words: Words, needed: Need) -> Outcome:
    if rng.random() < 0.12:
        reason = rng.choice(("not found", "timeout", "no such " + words.word(), "permission denied", words.phrase(2)))
        return Outcome(json.dumps({"error": reason}, separators=rng.choice(((",", ":"), (", ", ": ")))), _used("error", reason), f"Sorry, that did not work: {reason}.")
    if rng.random() < 0.25:
        text = rng.choice((words.phrase(4), f"{words.phrase(2)}, {rng.randint(1, 99)} {words.noun()}s", str(rng.randint(1, 9999)), f"{rng.randint(-9, 40)} degrees, {words.adjective()}"))
        return Outcome(text, _used("result", text), f"The result is {text}.")
    keys = rng.sample(("temperature", "sky", "price", "time", "status", "level", "value", "result", "name", "total", words.invented(), words.noun(), words.invented()), rng.choice((1, 1, 1, 2, 2)))
    if needed.subject.startswith("the ") and rng.random() < 0.4:
        keys[0] = needed.subject.split(" of ")[0].split(" for ")[0].split(" in ")[0].removeprefix("the ").replace(" ", "_")
    values: dict[str, Any] = {}
    for key in keys:
        values[key] = rng.choice((rng.randint(-20, 999), rng.randint(0, 99), words.word(), words.phrase(2), words.name(), f"{rng.randint(0, 23)}:{rng.randint(10, 59)}", round(rng.random() * 100, 1)))
    said = " ".join(f"The {key} is {value}." for key, value in values.items())
    separators = rng.choice(((",", ":"), (", ", ": ")))
    return Outcome(json.dumps(values, ensure_ascii=False, separators=separators), _used(", ".join(values), ", ".join(map(str, values.values()))), said)


def _used(keys: str, values: str) -> Thoughts:
    return Thoughts("I have the result.", "I have the result and tell the user.", f"The function returned {keys}: {values}. I tell the user.")
