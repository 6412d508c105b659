"""The client under test: unchanged, but for the base URL and the key that its environment gives it."""

from functools import cache

from openai import OpenAI

QUESTION = "What is 17 + 25?"
CALL_QUESTION = "What is the rainfall in Lisbon?"

CITY_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 40}},
    "required": ["city"],
    "additionalProperties": False,
}
RAINFALL = {"name": "get_rainfall", "description": "Get the rainfall of a city.", "parameters": CITY_SCHEMA}
POPULATION = {"name": "get_population", "description": "Get the population of a city.", "parameters": CITY_SCHEMA}

client = OpenAI()


@cache
def model() -> str:
    return client.models.list().data[0].id


def only(items):
    (item,) = items
    return item
