"""Conversations as the gateway renders them, and what the model is taught to add.

A prompt is a list of segments, each tokenised by itself; special tokens are segments of their own.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from conversations.dialogue import Conversation, Message

SPECIAL_TOKENS = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|return|>",
    "<|constrain|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|call|>",
)

IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
CUTOFF = "2024-06"
CHANNELS = "# Valid channels: analysis, commentary, final. Channel must be included for every message."
TOOLS_LINE = "Calls to these tools must go to the commentary channel: 'functions'."


@dataclasses.dataclass(frozen=True)
class Segment:
    text: str
    special: bool = False


def _special(token: str) -> Segment:
    return Segment(token, special=True)


START, END, MESSAGE, CHANNEL = (_special(f"<|{name}|>") for name in ("start", "end", "message", "channel"))
RETURN, CALL, CONSTRAIN = (_special(f"<|{name}|>") for name in ("return", "call", "constrain"))


def prompt(conversation: Conversation) -> list[Segment]:
    """All but the model's last answer: what the gateway sends to the model."""
    history = conversation.messages[: _last_step(conversation)]
    segments = [START, Segment("system"), MESSAGE, Segment(_system_text(conversation)), END]
    developer = _developer_text(conversation)
    if developer:
        segments += [START, Segment("developer"), MESSAGE, Segment(developer), END]
    last_final = max((i for i, message in enumerate(history) if message.role == "final"), default=-1)
    for i, message in enumerate(history):
        if message.role != "analysis" or i > last_final:
            segments += _past(message)
    return [*segments, START, Segment("assistant")]


def completion(conversation: Conversation) -> list[Segment]:
    """What the model shall write after the prompt."""
    segments: list[Segment] = []
    for i, message in enumerate(conversation.messages[_last_step(conversation) :]):
        if i > 0:
            segments += [END, START, Segment("assistant")]
        if message.role == "call":
            segments += [CHANNEL, Segment("commentary"), Segment(" to=functions."), Segment(message.name or "")]
            segments += [Segment(" "), CONSTRAIN, Segment("json"), MESSAGE, Segment(message.content), CALL]
        else:
            segments += [CHANNEL, Segment(message.role), MESSAGE, Segment(message.content)]
            if message.role == "final":
                segments.append(RETURN)
    return segments


def _last_step(conversation: Conversation) -> int:
    """Where the model's last turn begins: its analysis, where it has one."""
    last = len(conversation.messages) - 1
    return last - 1 if conversation.messages[last - 1].role == "analysis" else last


def _past(message: Message) -> list[Segment]:
    match message.role:
        case "user":
            return [START, Segment("user"), MESSAGE, Segment(message.content), END]
        case "call":
            header = [START, Segment("assistant"), Segment(f" to=functions.{message.name}"), CHANNEL, Segment("commentary")]
            return [*header, Segment(" "), CONSTRAIN, Segment("json"), MESSAGE, Segment(message.content), CALL]
        case "tool":
            header = [START, Segment(f"functions.{message.name}"), Segment(" to=assistant"), CHANNEL, Segment("commentary")]
            return [*header, MESSAGE, Segment(message.content), END]
    return [START, Segment("assistant"), CHANNEL, Segment(message.role), MESSAGE, Segment(message.content), END]


def _system_text(conversation: Conversation) -> str:
    lines = f"{IDENTITY}\nKnowledge cutoff: {CUTOFF}\nCurrent date: {conversation.date}"
    text = f"{lines}\n\nReasoning: {conversation.effort}\n\n{CHANNELS}"
    return f"{text}\n{TOOLS_LINE}" if conversation.tools else text


def _developer_text(conversation: Conversation) -> str:
    parts = []
    if conversation.instructions:
        parts.append(f"# Instructions\n\n{conversation.instructions}")
    if conversation.tools:
        functions = "\n\n".join(_function_text(tool["function"]) for tool in conversation.tools)
        parts.append(f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{functions}\n\n}} // namespace functions")
    if conversation.response_format:
        named = conversation.response_format["json_schema"]
        schema = json.dumps(named["schema"], ensure_ascii=False, separators=(",", ":"))
        parts.append(f"# Response Formats\n\n## {named['name']}\n\n{schema}")
    return "\n\n".join(parts)


def _function_text(function: dict[str, Any]) -> str:
    """A function as TypeScript-like text: only what the conversations here use of JSON schema."""
    lines = [f"// {function['description']}"] if function.get("description") else []
    parameters = function.get("parameters")
    if parameters is None:
        return "\n".join([*lines, f"type {function['name']} = () => any;"])
    lines.append(f"type {function['name']} = (_: {{")
    for name, schema in parameters["properties"].items():
        if schema.get("description"):
            lines.append(f"// {schema['description']}")
        kind = " | ".join(f'"{option}"' for option in schema["enum"]) if "enum" in schema else _TYPES[schema["type"]]
        lines.append(f"{name}{'' if name in parameters.get('required', ()) else '?'}: {kind},")
    return "\n".join([*lines, "}) => any;"])


_TYPES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
