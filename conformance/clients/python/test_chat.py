import json
import unittest
from typing import Annotated, Literal, Optional, Union

import openai
from pydantic import BaseModel, ConfigDict, Field

from subject import AIR_QUALITY, CALL_QUESTION, POPULATION, QUESTION, RAINFALL, SURE_QUESTION, client, model, only


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=20)]
    is_last: bool


class Sheet(BaseModel):
    """Bounded, so that any model comes to its end."""

    model_config = ConfigDict(extra="forbid")

    result: Annotated[int, Field(ge=0, le=999)]
    kind: Literal["sum", "difference"]
    remark: Optional[Annotated[str, Field(max_length=20)]]
    steps: Annotated[list[Step], Field(max_length=2)]
    either: Union[bool, Annotated[int, Field(ge=0, le=9)]]


class Rainfall(BaseModel):
    """Get the rainfall of a city."""

    city: Annotated[str, Field(max_length=40)]


def ask(**fields):
    messages = [{"role": "user", "content": QUESTION}]
    return client.chat.completions.create(**{"model": model(), "messages": messages, "temperature": 0, **fields})


def answer(**fields):
    return only(ask(**fields).choices)


def streamed(index=0, **fields):
    choices = [choice for chunk in ask(stream=True, **fields) for choice in chunk.choices if choice.index == index]
    content = "".join(choice.delta.content or "" for choice in choices)
    reasoning = "".join(getattr(choice.delta, "reasoning", None) or "" for choice in choices)
    return content, reasoning, choices[-1].finish_reason


class Chat(unittest.TestCase):
    def test_create_and_its_stream(self):
        completion = ask()
        choice = only(completion.choices)
        self.assertEqual(choice.finish_reason, "stop")
        self.assertTrue(choice.message.reasoning)
        usage = completion.usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertEqual(streamed(), (choice.message.content, choice.message.reasoning, "stop"))

    def test_include_usage(self):
        chunks = list(ask(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.total_tokens, ask().usage.total_tokens)

    def test_stream_helper(self):
        fields = {"model": model(), "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        with client.chat.completions.stream(**fields) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
            final = stream.get_final_completion()
        self.assertEqual(only(final.choices).message.content, text)
        self.assertEqual(text, answer().message.content)

    def test_reasoning_effort(self):
        for effort in ("low", "medium", "high"):
            with self.subTest(effort):
                completion = ask(reasoning_effort=effort)
                self.assertTrue(only(completion.choices).message.reasoning)
                self.assertGreater(completion.usage.completion_tokens_details.reasoning_tokens, 0)

    def test_n_and_seed(self):
        fields = {"n": 3, "seed": 7, "temperature": 1}
        first, second = ask(**fields), ask(**fields)
        self.assertEqual([choice.index for choice in first.choices], [0, 1, 2])
        self.assertEqual(first.choices, second.choices)
        self.assertEqual(first.system_fingerprint, second.system_fingerprint)
        for choice in first.choices:
            self.assertEqual(streamed(choice.index, **fields)[0], choice.message.content)

    def test_logprobs(self):
        choice = answer(logprobs=True, top_logprobs=3)
        tokens = choice.logprobs.content
        self.assertEqual("".join(token.token for token in tokens), choice.message.content)
        for token in tokens:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)

    def test_stop_and_limit(self):
        whole = answer().message.content
        stop = whole[2:4]
        cut = whole[: whole.index(stop)]
        self.assertEqual(answer(stop=[stop]).message.content, cut)
        self.assertEqual(streamed(stop=stop)[0::2], (cut, "stop"))
        self.assertEqual(answer(max_completion_tokens=5).finish_reason, "length")
        self.assertEqual(streamed(max_completion_tokens=5)[2], "length")

    def test_async_client(self):
        import asyncio

        async def both():
            async with openai.AsyncOpenAI() as own:
                fields = {"model": model(), "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
                whole = await own.chat.completions.create(**fields)
                stream = await own.chat.completions.create(**fields, stream=True)
                deltas = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
                return only(whole.choices).message.content, "".join(deltas)

        whole, joined = asyncio.run(both())
        self.assertEqual(whole, joined)


class Tools(unittest.TestCase):
    tools = [{"type": "function", "function": definition} for definition in (RAINFALL, POPULATION)]
    sure_tools = [{"type": "function", "function": definition} for definition in (AIR_QUALITY, POPULATION)]

    def called(self, **fields):
        fields = {"messages": [{"role": "user", "content": CALL_QUESTION}], "tools": self.tools, **fields}
        choice = answer(**fields)
        call = only(choice.message.tool_calls)
        self.assertEqual(choice.finish_reason, "tool_calls")
        self.assertEqual(list(json.loads(call.function.arguments)), ["city"])
        deltas = [
            delta.function
            for chunk in ask(**fields, stream=True)
            for streamed_choice in chunk.choices
            for delta in streamed_choice.delta.tool_calls or []
        ]
        self.assertEqual("".join(delta.name or "" for delta in deltas), call.function.name)
        self.assertEqual("".join(delta.arguments or "" for delta in deltas), call.function.arguments)
        return choice.message, call

    def test_auto_and_results(self):
        message, call = self.called(messages=[{"role": "user", "content": SURE_QUESTION}], tools=self.sure_tools)
        self.assertEqual(call.function.name, "get_air_quality")
        messages = [
            {"role": "user", "content": SURE_QUESTION},
            message.to_dict(),
            {"role": "tool", "tool_call_id": call.id, "content": '{"air_quality":12}'},
        ]
        self.assertIn("12", answer(messages=messages, tools=self.sure_tools).message.content)

    def test_required_named_and_allowed(self):
        named = {"type": "function", "function": {"name": "get_population"}}
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
        asked = [{"role": "user", "content": QUESTION}]
        self.called(tool_choice="required", messages=asked, parallel_tool_calls=False)
        self.assertEqual(self.called(tool_choice=named)[1].function.name, "get_population")
        self.assertEqual(self.called(tool_choice=allowed)[1].function.name, "get_population")

    def test_nothing_is_called(self):
        messages = [{"role": "user", "content": SURE_QUESTION}]
        for fields in ({"tools": self.sure_tools, "tool_choice": "none"}, {}):
            choice = answer(messages=messages, **fields)
            self.assertEqual((choice.message.tool_calls, choice.finish_reason), (None, "stop"))
            self.assertEqual(streamed(messages=messages, **fields)[0::2], (choice.message.content, "stop"))

    def test_parse(self):
        tool = openai.pydantic_function_tool(Rainfall, name="get_rainfall")
        messages = [{"role": "user", "content": CALL_QUESTION}]
        completion = client.chat.completions.parse(
            model=model(), messages=messages, tools=[tool], tool_choice="required", temperature=0
        )
        call = only(only(completion.choices).message.tool_calls)
        self.assertIsInstance(call.function.parsed_arguments, Rainfall)


class Formats(unittest.TestCase):
    def test_json_object(self):
        choice = answer(response_format={"type": "json_object"}, max_completion_tokens=200)
        self.assertTrue(choice.message.content.lstrip().startswith("{"))
        if choice.finish_reason == "stop":
            self.assertIsInstance(json.loads(choice.message.content), dict)

    def test_json_schema(self):
        json_schema = {"name": "sheet", "schema": Sheet.model_json_schema(), "strict": True}
        fields = {"response_format": {"type": "json_schema", "json_schema": json_schema}}
        choice = answer(**fields)
        Sheet.model_validate_json(choice.message.content)
        self.assertEqual(streamed(**fields)[0], choice.message.content)

    def test_regex_grammar_and_choice(self):
        asked = {
            r"[a-f]{3}-\d{2}": {"structured_outputs": {"regex": r"[a-f]{3}-\d{2}"}},
            r"(yes|no) \d": {"structured_outputs": {"grammar": 'root ::= answer " " [0-9]\nanswer ::= "yes" | "no"'}},
            r"certainly|never": {"guided_choice": ["certainly", "never"]},
        }
        for pattern, fields in asked.items():
            text = answer(extra_body=fields).message.content
            self.assertRegex(text, f"^(?:{pattern})$")
            self.assertEqual(streamed(extra_body=fields)[0], text)
            response = client.responses.create(model=model(), input=QUESTION, temperature=0, extra_body=fields)
            self.assertEqual(response.output_text, text)

    def test_parse_and_stream(self):
        fields = {"model": model(), "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        parsed = only(client.chat.completions.parse(**fields, response_format=Sheet).choices).message.parsed
        self.assertIsInstance(parsed, Sheet)
        with client.chat.completions.stream(**fields, response_format=Sheet) as stream:
            final = stream.get_final_completion()
        self.assertEqual(only(final.choices).message.parsed, parsed)
        with self.assertRaises(openai.LengthFinishReasonError):
            client.chat.completions.parse(**fields, response_format=Sheet, max_completion_tokens=8)


class Completions(unittest.TestCase):
    fields = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}

    def test_create_and_its_stream(self):
        whole = client.completions.create(model=model(), **self.fields)
        chunks = client.completions.create(model=model(), **self.fields, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), only(whole.choices).text)

    def test_prompts_n_echo_logprobs(self):
        many = client.completions.create(model=model(), prompt=[[10, 11], [12]], n=2, max_tokens=3, seed=1)
        self.assertEqual([choice.index for choice in many.choices], [0, 1, 2, 3])
        echoed = only(client.completions.create(model=model(), **{**self.fields, "max_tokens": 1}, echo=True, logprobs=2).choices)
        self.assertEqual("".join(echoed.logprobs.tokens), echoed.text)
