"""Records how prompts are rendered here, for the gateway's test that it renders them alike.

    python prompts_fixture.py CHECKPOINT > ../../services/gateway/test/fixtures/tiny-model-prompts.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import harmony
from judge import questions, request_of
from tokenizer import Vocabulary


def main() -> None:
    vocabulary = Vocabulary.load(Path(sys.argv[1]) / "tokenizer.json")
    cases = []
    for each in questions(60, seed=7):
        # Sampling is none of the prompt's business.
        body = {key: value for key, value in request_of(each).items() if key not in ("temperature", "max_tokens")}
        cases.append({"date": each.date, "request": body, "tokens": vocabulary.encode(harmony.prompt(each))})
    print("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
