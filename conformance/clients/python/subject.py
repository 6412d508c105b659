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
# For tests that leave it to the model what to call: the default model is sure of this one, whatever the effort and the order.
SURE_QUESTION = "What is the air quality in Lisbon?"
AIR_QUALITY = {"name": "get_air_quality", "description": "Get the air quality of a city.", "parameters": CITY_SCHEMA}
POPULATION = {"name": "get_population", "description": "Get the population of a city.", "parameters": CITY_SCHEMA}

client = OpenAI()


@cache
def model() -> str:
    return client.models.list().data[0].id


def only(items):
    (item,) = items
    return item
