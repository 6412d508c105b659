"""From nothing to a checkpoint: conversations, tokenizer, training, quantisation, Hugging Face layout."""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

# oneDNN prepares a product once for each shape, and must remember more of them than by default; read when torch loads.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

import torch

import harmony
from conversations import conversations
from export import export
from layers import Shape
from model import Transformer
from tokenizer import Vocabulary, build
from train import Plan, report, train


def main() -> None:
    options = _options()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    started = time.monotonic()

    vocabulary = _vocabulary(work / "tokenizer.json", options.seed, options.vocabulary)
    shape = Shape(
        vocab=vocabulary.size,
        layers=options.layers,
        hidden=options.hidden,
        intermediate=options.intermediate,
        experts=options.experts,
        query_heads=options.query_heads,
        kv_heads=options.kv_heads,
        head_dim=options.head_dim,
    )
    model = Transformer(shape).to(options.device)
    print(f"{vocabulary.size} tokens, {sum(each.numel() for each in model.parameters()):,} parameters", flush=True)
    plan = Plan(rounds=tuple(options.steps), conversations_per_step=options.batch, seed=options.seed)
    train(model, vocabulary, plan, work)
    report(model, vocabulary, quantised=True, count=50)
    export(model.cpu(), vocabulary, options.out)
    minutes, cpu = (time.monotonic() - started) / 60, time.process_time() / 60
    print(f"wrote {options.out} after {minutes:.0f} minutes, of which {cpu:.0f} minutes of CPU, all threads together")


def _vocabulary(path: Path, seed: int, size: int) -> Vocabulary:
    if not path.exists():
        sample = itertools.islice(conversations(seed, "train"), 60_000)
        segments = (part for each in sample for part in (*harmony.prompt(each), *harmony.completion(each)))
        build((segment.text for segment in segments if not segment.special), size).save(path)
    return Vocabulary.load(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    default, plan = Shape(vocab=2048), Plan()
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="folder of tokenizer and training state; training goes on from there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="+", default=plan.rounds, help="of each round")
    parser.add_argument("--batch", type=int, default=plan.conversations_per_step, help="conversations per step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--vocabulary", type=int, default=default.vocab, help="most tokens")
    for field in ("layers", "hidden", "intermediate", "experts", "query_heads", "kv_heads", "head_dim"):
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, default=getattr(default, field))
    return parser.parse_args()


if __name__ == "__main__":
    main()
