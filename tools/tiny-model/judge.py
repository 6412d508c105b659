"""Asks a running gateway held-out questions and scores its answers.

    npm start &
    python tools/tiny-model/judge.py --url http://127.0.0.1:8080 --count 1000

An answer is right when it is the expected one to the last character; a call, when its function and its arguments (as JSON) are.
Every answer is also checked for well-formed harmony: a finish reason that fits, no markup, no fault that the gateway had to mend.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import random
import re
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import conversations as made
from conversations import arithmetic, calendar_terms, copying, numbers, spelling, talk, units
from conversations.dialogue import Conversation
from conversations.instructions import instruction
from conversations.words import Words

SEED = 2026
PLAIN = {
    "addition": arithmetic.addition,
    "subtraction": arithmetic.subtraction,
    "comparison": numbers.comparison,
    "largest and smallest": numbers.extreme,
    "sorting": numbers.sorting,
    "spelling": spelling.spelling,
    "reversing": spelling.reversing,
    "counting letters": spelling.counting,
    "calendar": calendar_terms.calendar,
    "units": units.conversion,
    "echo": copying.echo,
    "extraction": copying.extraction,
    "greeting": talk.greeting,
    "identity": talk.identity,
    "declining": talk.declining,
}


def questions(count: int, seed: int) -> list[Conversation]:
    """`count` conversations of the test split, of all kinds in turn."""
    rng = random.Random(f"judge {seed}")
    words = Words(rng, "test")
    kinds = [*PLAIN, "instructions", "follow-ups", "tool calls", "tool results", "JSON by schema"]
    return [_one(kinds[i % len(kinds)], rng, words) for i in range(count)]


def _one(kind: str, rng: random.Random, words: Words) -> Conversation:
    match kind:
        case "tool calls":
            return made.calling(rng, words, answered=False)
        case "tool results":
            return made.calling(rng, words, answered=True)
        case "JSON by schema":
            return made.in_json(rng, words)
        case "instructions":
            told = instruction(rng, words)
            task = talk.identity if told.kind == "name" else rng.choice(list(PLAIN.values()))
            return dataclasses.replace(made.asking(rng, words, task, told), task=kind)
        case "follow-ups":
            tasks = (arithmetic.addition, arithmetic.subtraction, numbers.sorting, spelling.spelling, calendar_terms.calendar)
            while True:
                asked = made.asking(rng, words, rng.choice(tasks), follow_up=True)
                if asked.task == kind:
                    return asked
    return dataclasses.replace(made.asking(rng, words, PLAIN[kind], follow_up=False, single=True), task=kind)


def request_of(conversation: Conversation) -> dict[str, Any]:
    """The conversation up to the model's last turn, as a request of the chat API."""
    messages: list[dict[str, Any]] = []
    if conversation.instructions:
        messages.append({"role": "system", "content": conversation.instructions})
    past = conversation.messages[:-1]
    if past and past[-1].role == "analysis":
        past = past[:-1]
    thoughts: str | None = None
    for message in past:
        match message.role:
            case "user":
                messages.append({"role": "user", "content": message.content})
            case "analysis":
                thoughts = message.content
                continue
            case "final":
                messages.append({"role": "assistant", "content": message.content})
            case "call":
                call = {"id": "call_1", "type": "function", "function": {"name": message.name, "arguments": message.content}}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call], **({"reasoning": thoughts} if thoughts else {})})
            case "tool":
                messages.append({"role": "tool", "tool_call_id": "call_1", "content": message.content})
        thoughts = None
    body: dict[str, Any] = {"messages": messages, "reasoning_effort": conversation.effort, "temperature": 0, "max_tokens": 400}
    if conversation.tools:
        body["tools"] = list(conversation.tools)
    if conversation.response_format:
        body["response_format"] = conversation.response_format
    return body


@dataclasses.dataclass(frozen=True)
class Verdict:
    task: str
    effort: str
    right: bool
    well_formed: bool
    question: str
    expected: str
    found: str
    thought_tokens: int
    tokens: int
    seconds: float


def judge(conversation: Conversation, url: str, model: str) -> Verdict:
    body = {"model": model, **request_of(conversation)}
    started = time.monotonic()
    answer = _post(f"{url}/v1/chat/completions", body)
    seconds = time.monotonic() - started
    choice = answer["choices"][0]
    message, reason = choice["message"], choice["finish_reason"]
    expected = conversation.messages[-1]
    calls = message.get("tool_calls") or []
    found = message.get("content") or ""
    if expected.role == "call":
        right = len(calls) == 1 and calls[0]["function"]["name"] == expected.name
        right = right and _json(calls[0]["function"]["arguments"]) == json.loads(expected.content)
    else:
        right = not calls and found == expected.content
    if calls:
        found = ", ".join(f"{each['function']['name']}({each['function']['arguments']})" for each in calls)
    thoughts = message.get("reasoning") or ""
    markup = re.search(r"<\|\w*\|>", thoughts + found)
    well_formed = reason == ("tool_calls" if calls else "stop") and bool(thoughts) and bool(found) and not markup
    usage = answer["usage"]
    return Verdict(
        conversation.task,
        conversation.effort,
        right,
        well_formed,
        next(each.content for each in reversed(conversation.messages) if each.role == "user"),
        f"{expected.name}({expected.content})" if expected.role == "call" else expected.content,
        found,
        usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0),
        usage["completion_tokens"],
        seconds,
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def _samples(url: str, name: str) -> dict[str, float]:
    """A metric's samples, by their labels."""
    with urllib.request.urlopen(url, timeout=10) as response:
        text = response.read().decode()
    found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, flags=re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def _difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {labels: value - before.get(labels, 0.0) for labels, value in after.items()}


def main() -> int:
    options = _options()
    url = options.url.rstrip("/")
    with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as response:
        model = json.load(response)["data"][0]["id"]
    worker_urls = _worker_urls(options.run)
    repairs = _samples(f"{url}/metrics", "moiety_harmony_repairs_total")
    heat = [_samples(each, "moiety_expert_heat_rows_total") for each in worker_urls]
    asked = questions(options.count, options.seed)
    with concurrent.futures.ThreadPoolExecutor(options.concurrency) as pool:
        verdicts = list(pool.map(lambda each: judge(each, url, model), asked))
    mended = sum(_difference(_samples(f"{url}/metrics", "moiety_harmony_repairs_total"), repairs).values())
    loads: dict[str, float] = collections.defaultdict(float)
    for each, before in zip(worker_urls, heat):
        for labels, rows in _difference(_samples(each, "moiety_expert_heat_rows_total"), before).items():
            loads[labels] += rows
    print(_table(verdicts))
    print(_summary(verdicts, mended, loads))
    if options.failures:
        for each in verdicts:
            if not (each.right and each.well_formed):
                print(f"- {each.task} ({each.effort}): {each.question!r}: expected {each.expected!r}, found {each.found!r}")
    return 0 if _good_enough(verdicts, mended, loads) else 1


def _table(verdicts: list[Verdict]) -> str:
    tasks = list(dict.fromkeys(each.task for each in verdicts))
    lines = ["| task | asked | right | low | medium | high |", "|---|---|---|---|---|---|"]
    for task in [*tasks, "all"]:
        of_task = [each for each in verdicts if task in (each.task, "all")]
        shares = [_share(each for each in of_task if each.effort == effort) for effort in ("low", "medium", "high")]
        lines.append(f"| {task} | {len(of_task)} | {_share(of_task)} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _share(verdicts: Any) -> str:
    right = [each.right for each in verdicts]
    return f"{100 * sum(right) / len(right):.1f}%" if right else "-"


def _layer_loads(loads: dict[str, float]) -> dict[str, float]:
    """The busiest expert's rows over the mean, by layer."""
    by_layer: dict[str, list[float]] = collections.defaultdict(list)
    for labels, rows in loads.items():
        by_layer[re.search(r'layer="(\d+)"', labels)[1]].append(rows)
    return {layer: max(rows) / statistics.mean(rows) for layer, rows in sorted(by_layer.items())}


def _summary(verdicts: list[Verdict], mended: float, loads: dict[str, float]) -> str:
    formed = sum(each.well_formed for each in verdicts)
    thoughts = ", ".join(
        f"{effort} {statistics.mean(each.thought_tokens for each in verdicts if each.effort == effort):.1f}"
        for effort in ("low", "medium", "high")
    )
    lines = [
        "",
        f"Well-formed: {formed} of {len(verdicts)}; faults mended by the gateway: {mended:.0f}.",
        f"Tokens of analysis, mean: {thoughts}.",
    ]
    if loads:
        layers = ", ".join(f"{load:.2f}" for load in _layer_loads(loads).values())
        lines.append(f"Load of the busiest expert over the mean, by layer: {layers}.")
    return "\n".join(lines)


def _good_enough(verdicts: list[Verdict], mended: float, loads: dict[str, float]) -> bool:
    """What the model is published with."""
    least = {**dict.fromkeys(("addition", "subtraction", "spelling", "reversing", "sorting"), 0.95), "tool calls": 0.9, "extraction": 0.9}
    right = all(
        statistics.mean(each.right for each in verdicts if each.task == task) >= share
        for task, share in least.items()
        if any(each.task == task for each in verdicts)
    )
    return right and mended == 0 and all(each.well_formed for each in verdicts) and all(load <= 2 for load in _layer_loads(loads).values())


def _worker_urls(run: Path) -> list[str]:
    """Where the expert workers of a local cluster show their metrics; none without its run file."""
    if not run.exists():
        return []
    processes = json.loads(run.read_text())["processes"]
    return [f"http://127.0.0.1:{each['readyPort']}/metrics" for each in processes if each["kind"] == "expert-worker"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--run", type=Path, default=Path(".moiety/run.json"), help="run file of the local cluster, for the experts' load")
    parser.add_argument("--failures", action="store_true", help="list what went wrong")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
