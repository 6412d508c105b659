"""A byte-level BPE tokenizer whose tokens are frequent whole words; every other word is spelled in bytes.

The vocabulary has the 256 bytes and whole pieces of text, no parts of words: with `ignore_merges`, a piece that is a token becomes
one at once, and any other falls to its bytes. So a name that was never seen is copied, spelled or reversed letter by letter, and
reads the same after a space, a quote or an underscore.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from conversations.words import content_words
from harmony import CHANNELS, CUTOFF, IDENTITY, SPECIAL_TOKENS, TOOLS_LINE, Segment

FIXED_PHRASES = (
    f"{IDENTITY}\nKnowledge cutoff: {CUTOFF}\nCurrent date: ",
    *(f"\n\nReasoning: {effort}\n\n{CHANNELS}" for effort in ("low", "medium", "high")),
    f"\n{TOOLS_LINE}",
    "# Instructions\n\n",
    "# Tools\n\n## functions\n\nnamespace functions {\n\n",
    "# Response Formats\n\n## ",
    " = (_: {\n",
    "}) => any;\n\n",
    " = () => any;\n\n",
    "} // namespace functions",
    ": string,\n",
    "?: string,\n",
    ": number,\n",
    "?: number,\n",
    '{"type":"object","properties":{',
    '":{"type":"string"}',
    '":{"type":"integer"}',
    '"additionalProperties":false',
    '"required":[',
    " to=functions.",
)
"""Sentences of the harmony format: one token each, so that a prompt is short."""

RAREST = 60
"""How often a piece has to occur in the sample to be a token: often enough that a model learns its letters by heart."""

SPLIT_PATTERN = "|".join(
    (
        *(re.escape(phrase).replace("\\\n", "\\n").replace("\\ ", " ").replace("\\'", "'").replace('\\"', '"') for phrase in FIXED_PHRASES),
        r"[^\r\n\p{L}\p{N}]?\p{Lu}?\p{Ll}+",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r" ?\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""Phrases, words with the mark before them, single digits, marks, line ends, spaces."""


def _alphabet() -> dict[int, str]:
    """The visible character that stands for each byte, as in GPT-2."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}


_ALPHABET = _alphabet()


def _visible(text: str) -> str:
    return "".join(_ALPHABET[byte] for byte in text.encode())


def _definition(words: list[str], size: int) -> dict[str, object]:
    """tokenizer.json. `size`: of the vocabulary, special tokens last."""
    vocab = {_ALPHABET[byte]: byte for byte in range(256)}
    for word in words:
        if len(vocab) == size - len(SPECIAL_TOKENS):
            break
        vocab.setdefault(_visible(word), len(vocab))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": len(vocab) + i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocab,
            "merges": [],
        },
    }


def build(texts: Iterable[str], size: int) -> Vocabulary:
    """The phrases, then the pieces that are most frequent in `texts`; words that are content, and long runs, stay bytes."""
    bytes_only = Vocabulary(_definition([], 256 + len(SPECIAL_TOKENS)))
    pieces = collections.Counter(piece for text in texts for piece in bytes_only.pieces(text))
    content = content_words()
    letters = re.compile(r"[^A-Za-z]")

    def is_content(piece: str) -> bool:
        word = letters.sub("", piece).lower()
        return bool({word, word.removesuffix("s"), word[::-1]} & content) or (len(word) == 2 and piece[-1].isupper())

    frequent = [piece for piece, count in pieces.most_common() if count >= RAREST and len(piece.encode()) > 1 and not is_content(piece)]
    frequent = [piece for piece in frequent if piece not in FIXED_PHRASES]
    return Vocabulary(_definition([*FIXED_PHRASES, *frequent], size))


class Vocabulary:
    """Encodes segments; remembers words, which come again and again."""

    def __init__(self, definition: dict[str, object]) -> None:
        self.definition = definition
        self._tokenizer = Tokenizer.from_str(json.dumps(definition))
        self._memory: dict[str, list[int]] = {}

    @staticmethod
    def load(path: Path) -> Vocabulary:
        return Vocabulary(json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.definition, ensure_ascii=False, indent=1) + "\n")

    @property
    def size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def pieces(self, text: str) -> list[str]:
        return [text[start:end] for _, (start, end) in self._tokenizer.pre_tokenizer.pre_tokenize_str(text)]

    def special(self, token: str) -> int:
        return self._tokenizer.token_to_id(token)

    def encode(self, segments: Iterable[Segment]) -> list[int]:
        tokens: list[int] = []
        for segment in segments:
            if segment.special:
                tokens.append(self.special(segment.text))
            elif len(segment.text) <= 16:
                known = self._memory.get(segment.text)
                if known is None:
                    known = self._memory[segment.text] = self._tokenizer.encode(segment.text, add_special_tokens=False).ids
                tokens.extend(known)
            else:
                tokens.extend(self._tokenizer.encode(segment.text, add_special_tokens=False).ids)
        return tokens

    def decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=False)

    def words(self) -> tuple[str, ...]:
        """Lower-case words that are tokens of their own."""
        vocab = self._tokenizer.get_vocab()
        return tuple(sorted(word[1:] for word in vocab if re.fullmatch("Ġ[a-z]{3,11}", word)))
