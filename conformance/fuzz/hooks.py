"""Keeps requests short, checks the events of streams, and counts what was asked.

Loaded by schemathesis (SCHEMATHESIS_HOOKS). Counts are written to the file that MOIETY_FUZZ_COUNTS names.
"""

import atexit
import json
import os
import re
import threading
import zlib
from collections import Counter

import jsonschema_rs
import schemathesis

EVENTS = "text/event-stream"
MOST_TOKENS = 4
# Every limit of tokens that any endpoint has, and the one that each endpoint is given where a request has none.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
LIMIT_OF = {
    "/v1/chat/completions": "max_completion_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
}
MOST_CHOICES = 2
# One body in so many is left as wrong as it may be.
MENDED_OF = 8

counts: Counter = Counter()
chunk_schemas: dict = {}
lock = threading.Lock()


def is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


@schemathesis.hook
def before_load_schema(ctx, schema):
    """Takes the schemas of event streams out: they describe a text, and what its events carry is checked here."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if not isinstance(operation, dict):
                continue
            content = operation.get("responses", {}).get("200", {}).get("content", {})
            described = content.get(EVENTS, {}).pop("schema", None)
            if described is None:
                continue
            name = re.search(r"data of each is an? (\w+)", described.get("description", ""))
            if name is not None:
                reference = {"$ref": f"#/components/schemas/{name[1]}"}
                error = {"$ref": "#/components/schemas/Error"}
                either = {"anyOf": [reference, error], "components": schema["components"]}
                chunk_schemas[method.upper(), path] = jsonschema_rs.Draft202012Validator(either)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """What would take long is made short. And of most bodies is mended what a schema cannot say: few would be taken otherwise."""
    body = case.body
    if not isinstance(body, dict):
        return
    if zlib.crc32(repr(body).encode()) % MENDED_OF:
        mend(body)
    if case.path not in LIMIT_OF:
        return
    for name in LIMITS:
        if is_int(body.get(name)):
            body[name] = min(body[name], MOST_TOKENS)
    limit = LIMIT_OF[case.path]
    if body.get(limit) is None and (limit != "max_completion_tokens" or body.get("max_tokens") is None):
        body[limit] = MOST_TOKENS
    for name in ("n", "best_of"):
        if is_int(body.get(name)):
            body[name] = min(body[name], MOST_CHOICES)
    if is_int(body.get("min_tokens")):
        body["min_tokens"] = min(body["min_tokens"], MOST_TOKENS)


def mend(body):
    """Fields that are right each, and wrong together or for this server."""
    if isinstance(body.get("model"), str):
        body["model"] = os.environ["MOIETY_FUZZ_MODEL"]
    if isinstance(body.get("stream_options"), dict) and body.get("stream") in (None, False):
        body["stream"] = True
    if isinstance(body.get("suffix"), str):
        del body["suffix"]
    if is_int(body.get("best_of")):
        del body["best_of"]
    if body.get("max_tokens") == 0:
        body["max_tokens"] = 1
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        body["prompt"] = prompt or "a"
    elif isinstance(prompt, list):
        body["prompt"] = [one if one != "" else "a" for one in prompt]


@schemathesis.hook
def after_call(ctx, case, response):
    with lock:
        counts[f"{case.method} {case.path}", response.status_code] += 1


@schemathesis.check
def events_conform(ctx, response, case):
    """Each event of a stream is the chunk that the document names, or an error."""
    if EVENTS not in "".join(response.headers.get("content-type", [])):
        return
    validator = chunk_schemas.get((case.method.upper(), case.path))
    data = [line.removeprefix("data:").strip() for line in response.content.decode().split("\n") if line.startswith("data:")]
    # Whoever has them all gets none again.
    assert data or "starting_after" in (case.query or {}), "a stream without events"
    for text in data:
        if text == "[DONE]":
            continue
        try:
            value = json.loads(text)
            if validator is not None:
                validator.validate(value)
        except ValueError as fault:
            raise AssertionError(f"an event that does not conform: {text[:500]}: {fault}") from fault


@atexit.register
def write_counts():
    path = os.environ.get("MOIETY_FUZZ_COUNTS")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump([[operation, status, count] for (operation, status), count in sorted(counts.items())], file)
