import json
import time
import unittest
from typing import Annotated

import openai
from pydantic import BaseModel, Field

from subject import AIR_QUALITY, CALL_QUESTION, POPULATION, QUESTION, RAINFALL, SURE_QUESTION, client, model, only

TOOLS = [{"type": "function", **definition, "strict": True} for definition in (RAINFALL, POPULATION)]
SURE_TOOLS = [{"type": "function", **definition, "strict": True} for definition in (AIR_QUALITY, POPULATION)]


class Sum(BaseModel):
    result: Annotated[int, Field(ge=0, le=999)]


class Rainfall(BaseModel):
    """Get the rainfall of a city."""

    city: Annotated[str, Field(max_length=40)]


def ask(**fields):
    return client.responses.create(**{"model": model(), "input": QUESTION, "temperature": 0, **fields})


def calls_of(response):
    return [item for item in response.output if item.type == "function_call"]


def ended(response_id):
    while True:
        response = client.responses.retrieve(response_id)
        if response.status not in ("queued", "in_progress"):
            return response
        time.sleep(0.05)


class Responses(unittest.TestCase):
    def test_create_and_its_stream(self):
        whole = ask(instructions="Be brief.", metadata={"purpose": "conformance"})
        self.assertEqual((whole.status, whole.instructions), ("completed", "Be brief."))
        self.assertEqual([item.type for item in whole.output], ["reasoning", "message"])
        events = list(ask(instructions="Be brief.", stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual(events[-1].type, "response.completed")
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text, whole.output_text)

    def test_stream_helper(self):
        with client.responses.stream(model=model(), input=QUESTION, temperature=0) as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            final = stream.get_final_response()
        self.assertEqual(final.output_text, text)
        self.assertEqual(text, ask().output_text)

    def test_reasoning_effort_limit_and_include(self):
        for effort in ("low", "medium", "high"):
            self.assertEqual(ask(reasoning={"effort": effort}).output[0].type, "reasoning")
        cut = ask(max_output_tokens=16)
        self.assertEqual((cut.status, cut.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        sealed = ask(include=["reasoning.encrypted_content", "message.output_text.logprobs"], top_logprobs=2)
        self.assertTrue(sealed.output[0].encrypted_content)
        part = only(sealed.output[1].content)
        self.assertEqual("".join(token.token for token in part.logprobs), part.text)

    def test_tools(self):
        first = ask(input=SURE_QUESTION, tools=SURE_TOOLS)
        call = only(calls_of(first))
        self.assertEqual(call.name, "get_air_quality")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"air_quality":12}'}
        linked = ask(previous_response_id=first.id, input=[result], tools=SURE_TOOLS)
        self.assertIn("12", linked.output_text)
        history = [{"role": "user", "content": SURE_QUESTION}, *[item.to_dict() for item in first.output], result]
        self.assertEqual(ask(input=history, tools=SURE_TOOLS).output_text, linked.output_text)

    def test_tool_choice(self):
        named = {"type": "function", "name": "get_population"}
        allowed = {"type": "allowed_tools", "mode": "required", "tools": [named]}
        for choice in ("required", named, allowed):
            call = only(calls_of(ask(input=QUESTION, tools=TOOLS, tool_choice=choice)))
            self.assertEqual(list(json.loads(call.arguments)), ["city"])
            if choice != "required":
                self.assertEqual(call.name, "get_population")
        for fields in ({"tools": SURE_TOOLS, "tool_choice": "none"}, {}):
            self.assertEqual(calls_of(ask(input=SURE_QUESTION, **fields)), [])
            types = {event.type for event in ask(input=SURE_QUESTION, stream=True, **fields)}
            self.assertNotIn("response.function_call_arguments.done", types)

    def test_parse(self):
        fields = {"model": model(), "temperature": 0}
        parsed = client.responses.parse(**fields, input=QUESTION, text_format=Sum)
        self.assertIsInstance(parsed.output_parsed, Sum)
        with client.responses.stream(**fields, input=QUESTION, text_format=Sum) as stream:
            self.assertEqual(stream.get_final_response().output_parsed, parsed.output_parsed)
        tool = openai.pydantic_function_tool(Rainfall, name="get_rainfall")
        function = {"type": "function", **tool["function"]}
        called = client.responses.parse(**fields, input=CALL_QUESTION, tools=[function], tool_choice="required")
        self.assertEqual(list(json.loads(only(calls_of(called)).arguments)), ["city"])

    def test_json_object(self):
        response = ask(text={"format": {"type": "json_object"}}, max_output_tokens=200)
        self.assertTrue(response.output_text.lstrip().startswith("{"))
        if response.status == "completed":
            self.assertIsInstance(json.loads(response.output_text), dict)


class Stored(unittest.TestCase):
    def test_retrieve_and_delete(self):
        created = ask()
        self.assertEqual(client.responses.retrieve(created.id).to_dict(), created.to_dict())
        client.responses.delete(created.id)
        with self.assertRaises(openai.NotFoundError):
            client.responses.retrieve(created.id)
        with self.assertRaises(openai.NotFoundError):
            client.responses.retrieve(ask(store=False).id)

    def test_input_items_and_previous_response(self):
        texts = ["a", "b", "c"]
        first = ask(input=[{"role": "user", "content": text} for text in texts])
        items = client.responses.input_items.list(first.id, order="asc", limit=2)
        self.assertEqual([item.content[0].text for item in items], texts)
        self.assertEqual(ask(previous_response_id=first.id).previous_response_id, first.id)

    def test_background_and_starting_after(self):
        queued = ask(background=True)
        self.assertIn(queued.status, ("queued", "in_progress"))
        done = ended(queued.id)
        self.assertEqual((done.status, done.output_text), ("completed", ask().output_text))
        events = list(client.responses.retrieve(queued.id, stream=True))
        rest = list(client.responses.retrieve(queued.id, stream=True, starting_after=3))
        self.assertEqual(rest, events[4:])
        with client.responses.stream(response_id=queued.id, starting_after=3) as stream:
            self.assertEqual(stream.get_final_response().output_text, done.output_text)

    def test_cancel(self):
        long = ask(background=True, temperature=2, reasoning={"effort": "high"}, max_output_tokens=3_000)
        client.responses.cancel(long.id)
        self.assertEqual(ended(long.id).status, "cancelled")
