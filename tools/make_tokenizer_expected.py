#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes goldens/tokenizer: what the `tokenizers` and `tiktoken` libraries make of awkward text.

    python3.11 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3 tiktoken==0.14.0
    /tmp/venv/bin/python tools/make_tokenizer_expected.py

Needs exactly those libraries and Python 3.11 (tokenizer_strings.py tells why).

Files: variants/NAME.json are small tokenizers, one for each accepted pipeline and flag, trained on
text/calibration.jsonl; kimi_tiktoken holds a tokenizer of the other kind. strings.json and
strings_more.json hold the strings. expected.json tells, for each tokenizer, into which file the ids
of the first strings went: for each string a little-endian uint16 count, then as many uint16 ids. For
batches of BATCH strings (of both files) and for long texts it holds the number of ids and the
SHA-256 of the ids as little-endian int32, in a batch each string's ids behind their count.
splits.json holds for each split pattern, in batches too, the bytes of the pieces of each string, and
what tiktoken with Kimi's pattern makes of the strings when all pairs of bytes are tokens: ids that
change wherever a split does. unicode_classes.json holds flat lists of first and last code points.
"""
import base64
import hashlib
import json
import struct
import sys
import unicodedata

import tiktoken
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tokenizer_strings import LONG, ROOT, MoreStrings, Strings, assigned_in_13, read_texts

OUT = ROOT / "goldens" / "tokenizer"
REFERENCE = ROOT / "models" / "reference-fp8" / "tokenizer.json"

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
WORD_LOWER = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+")
WORD_UPPER = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*")
QWEN2 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
QWEN35 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
          r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + SPACES)
CL100K = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
O200K = (WORD_LOWER + CONTRACTIONS + "?|" + WORD_UPPER + CONTRACTIONS +
         r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
TEKKEN = (WORD_LOWER + "|" + WORD_UPPER + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
NOT_HAN = r"&&[^\p{Han}]]"
KIMI_LOWER = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}" + NOT_HAN +
              r"*[\p{Ll}\p{Lm}\p{Lo}\p{M}" + NOT_HAN + "+")
KIMI_UPPER = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}" + NOT_HAN +
              r"+[\p{Ll}\p{Lm}\p{Lo}\p{M}" + NOT_HAN + "*")
KIMI = (r"[\p{Han}]+|" + KIMI_LOWER + CONTRACTIONS + "?|" + KIMI_UPPER + CONTRACTIONS +
        r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
DEEPSEEK = [
    r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    r"""|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|""" + SPACES]
# As published: the characters themselves, not their escapes.
DEEPSEEK[2] = DEEPSEEK[2].replace(r"\r", "\r").replace(r"\n", "\n")


# ---- small tokenizers


def splits(*patterns, prefix=False, use_regex=False):
    parts = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    parts.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex))
    return parts[0] if len(parts) == 1 else pre_tokenizers.Sequence(parts)


def train(texts, normalizer, pre_tokenizer, all_bytes=True, special=("<|endoftext|>",)):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if all_bytes else []
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=sorted(alphabet),
        special_tokens=list(special)))
    return tokenizer


def train_characters(texts):
    """As SentencePiece's BPE stores itself: visible spaces, no split, special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = sentencepiece_normalizer()
    tokenizer.train_from_iterator([t[:300] for t in texts], trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"]))
    return tokenizer


def sentencepiece_normalizer():
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def characters(fuse, missing=()):
    """Byte tokens for all bytes but the missing; None means no byte fallback at all."""
    def change(data):
        model = data["model"]
        model.update(unk_token="<unk>", fuse_unk=fuse, byte_fallback=missing is not None)
        if missing is not None:
            add_words(model, [f"<0x{byte:02X}>" for byte in range(256) if byte not in missing])
    return change


def ignore_merges_of_characters(data):
    characters(fuse=True)(data)
    data["model"]["ignore_merges"] = True
    add_words(data["model"], ["_theé", "_dateéa", "_management", "_zebra", "_", "__", "_a▁"])


def edit(tokenizer, change):
    data = json.loads(tokenizer.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data)), data


def ignore_merges(data):
    """Words that no merge reaches: only a look-up of the whole piece finds them."""
    model = data["model"]
    model["ignore_merges"] = True
    add_words(model, ["Ġmanagement", "Ġzebra", "xyzzy", "123", "éĿ¢", "Ã©", "'ll", "Ġ'", "ĠĠĠĠĠ"])


def add_words(model, words):
    for word in words:
        if word not in model["vocab"]:
            model["vocab"][word] = max(model["vocab"].values()) + 1


def unknown(fuse):
    def change(data):
        data["model"].update(unk_token="<unk>", fuse_unk=fuse)
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return change


FLAG_TOKENS = [
    AddedToken("<plain>", normalized=False),
    AddedToken("<plain><wide>", normalized=False),
    AddedToken("<left>", normalized=False, lstrip=True),
    AddedToken("<right>", normalized=False, rstrip=True),
    AddedToken("<both>", normalized=False, lstrip=True, rstrip=True, special=True),
    AddedToken("<word>", normalized=False, single_word=True),
    AddedToken("word", normalized=True, single_word=True),
    AddedToken("wordy", normalized=True, single_word=True, lstrip=True),
    AddedToken("cafe\u0301", normalized=True),
    AddedToken("na\u0308ive", normalized=False),
    AddedToken("\u1112\u1161\u11ab", normalized=True, rstrip=True),
    AddedToken("  ", normalized=True),
    AddedToken("    ", normalized=True),
    AddedToken("<|norm|>", normalized=True, lstrip=True, rstrip=True),
    AddedToken("\U0001f600", normalized=False, single_word=True),
    AddedToken("\n\n", normalized=False, rstrip=True),
]


def byte_variants(texts):
    nfc = normalizers.NFC()
    digits = pre_tokenizers.Digits
    byte_level = pre_tokenizers.ByteLevel
    sequence = pre_tokenizers.Sequence
    variants = {
        "gpt2": train(texts, None, splits(use_regex=True)),
        "gpt2_prefix_space": train(texts, None, splits(prefix=True, use_regex=True)),
        "gpt2_as_split": train(texts, normalizers.Sequence([]), splits(GPT2)),
        "no_split": train([t[:300] for t in texts], nfc, splits()),
        "qwen2": train(texts, nfc, splits(QWEN2), special=("<|endoftext|>", "<|im_start|>",
                                                             "<|im_end|>")),
        "cl100k": train(texts, None, splits(CL100K)),
        "o200k": train(texts, normalizers.Sequence([nfc]), splits(O200K)),
        "tekken": train(texts, None, splits(TEKKEN)),
        "deepseek": train(texts, normalizers.Sequence([]), splits(*DEEPSEEK)),
        "kimi": train(texts, None, splits(KIMI)),
        "digit": train(texts, None, sequence([digits(True), byte_level(add_prefix_space=False)])),
        "digits": train(texts, None, sequence([digits(False), byte_level(add_prefix_space=True)])),
        "split_then_prefix_space": train(texts, nfc, splits(DEEPSEEK[0], prefix=True,
                                                             use_regex=True)),
        "flags": train(texts, nfc, splits(QWEN2)),
        "neox_spaces": train(texts, nfc, splits(use_regex=True)),
        "unknown_fused": train(texts, None, splits(QWEN2), all_bytes=False, special=("<unk>",)),
    }
    variants["flags"].add_tokens(FLAG_TOKENS)
    variants["neox_spaces"].add_tokens(
        [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    changes = {"cl100k": ignore_merges, "o200k": ignore_merges, "unknown_fused": unknown(True)}
    out = {}
    for name, tokenizer in variants.items():
        out[name] = edit(tokenizer, changes.get(name, lambda data: None))
    out["unknown"] = edit(variants["unknown_fused"], unknown(False))
    return out


def character_variants(texts):
    trained = train_characters(texts)
    all_bytes = characters(fuse=True)
    out = {
        "mixtral": edit(trained, all_bytes),
        "characters_unknown": edit(trained, characters(fuse=False, missing=None)),
        "characters_unknown_fused": edit(trained, characters(fuse=True, missing=None)),
        # Some characters fall back and some are unknown, side by side.
        "characters_few_bytes": edit(trained, characters(fuse=False, missing=range(0xA0, 0xB0))),
        "characters_few_bytes_fused": edit(trained, characters(fuse=True,
                                                                missing=range(0xA0, 0xB0))),
    }
    with_flags, _ = edit(trained, all_bytes)
    with_flags.add_tokens(FLAG_TOKENS)
    out["mixtral_flags"] = edit(with_flags, lambda data: None)
    with_flags.normalizer = normalizers.Sequence([])
    for scheme in ["first", "always", "never"]:
        for split in [True, False]:
            with_flags.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, split)
            name = f"metaspace_{scheme}_{'split' if split else 'whole'}"
            out[name] = edit(with_flags, lambda data: None)
    with_flags.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.Metaspace("▁", "first", True)])
    out["digit_metaspace"] = edit(with_flags, lambda data: None)
    whole_words, _ = edit(trained, ignore_merges_of_characters)
    whole_words.add_tokens(FLAG_TOKENS)
    whole_words.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace("  ", "▁"), normalizers.Replace("e", "eé"),
         normalizers.Prepend(" ")])
    whole_words.pre_tokenizer = pre_tokenizers.Metaspace("_", "always", True)
    out["replace_metaspace"] = edit(whole_words, lambda data: None)
    return out


class KimiTiktoken:
    """tiktoken as Kimi's tokenization_kimi.py calls it, with 256 special tokens behind the ranks."""

    NAMED = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 6: "<|start_header_id|>",
             9: "[EOT]", 10: "<|im_system|>", 17: "<|im_middle|>", 254: "[UNK]", 255: "[PAD]"}

    def __init__(self, texts):
        data = json.loads(train(texts, None, splits(KIMI), special=()).to_str())
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [b for b in range(256) if b not in printable]
        byte_of = {chr(b): b for b in printable}
        byte_of.update({chr(0x100 + i): b for i, b in enumerate(others)})
        assert sorted(byte_of) == alphabet
        self.ranks = {bytes(byte_of[c] for c in token): rank
                      for token, rank in data["model"]["vocab"].items()}
        for word in [b"xyzzy", b" zebra", "é".encode(), b"'ll", b"11", b"111"]:  # reached by no merge
            self.ranks.setdefault(word, len(self.ranks))
        first = len(self.ranks)
        self.special = {self.NAMED.get(i, f"<|reserved_token_{first + i}|>"): first + i
                        for i in range(256)}
        self.encoding = tiktoken.Encoding("kimi", pat_str=KIMI, mergeable_ranks=self.ranks,
                                          special_tokens=self.special)

    def write(self, folder):
        folder.mkdir(exist_ok=True)
        lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in self.ranks.items()]
        (folder / "tiktoken.model").write_bytes(b"".join(lines))
        named = {len(self.ranks) + i: {"content": token, "lstrip": False, "normalized": False,
                                       "rstrip": False, "single_word": False, "special": i != 17}
                 for i, token in self.NAMED.items()}
        config = {"added_tokens_decoder": named, "bos_token": "[BOS]", "eos_token": "[EOS]",
                  "model_max_length": 1000000000000000019884624838656, "pad_token": "[PAD]",
                  "tokenizer_class": "TikTokenTokenizer", "unk_token": "[UNK]"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")

    def ids(self, text):
        out = []
        for begin in range(0, len(text), 400000):
            for part in self.cut(text[begin:begin + 400000]):
                out += self.encoding.encode(part, allowed_special="all")
        return out

    @staticmethod
    def cut(text):
        """Behind every 25000 characters of one kind, space or not."""
        begin = run = 0
        for i, c in enumerate(text):
            run = run + 1 if i > 0 and c.isspace() == text[i - 1].isspace() else 1
            if run > 25000:
                yield text[begin:i]
                begin, run = i, 1
        yield text[begin:]


# ---- expected values


def digest(ids):
    return {"count": len(ids), "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids))
            .hexdigest()}


BATCH = 500


def in_batches(numbers):
    """Of a list of numbers for each string."""
    batches = [numbers[begin:begin + BATCH] for begin in range(0, len(numbers), BATCH)]
    return [digest([x for of_one in batch for x in [len(of_one), *of_one]]) for batch in batches]


def expect(name, encode, strings, kept):
    ids = [encode(text) for text in strings]
    packed = bytearray()
    for i in ids[:kept]:
        packed += struct.pack(f"<{len(i) + 1}H", len(i), *i)
    (OUT / f"{name}.ids").write_bytes(packed)
    return {
        "ids": f"{name}.ids", "strings": kept,
        "batches": in_batches(ids),
        "long": [digest(encode(a + unit * n + b)) for a, unit, n, b in LONG],
        "calibration.jsonl": [digest(encode(t)) for t in read_texts("calibration.jsonl")],
        "evaluation.jsonl": [digest(encode(t)) for t in read_texts("evaluation.jsonl")],
    }


def encoder(tokenizer):
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def expect_splits(strings):
    by_regex = {p: pre_tokenizers.Split(Regex(p), "isolated")
                for p in [QWEN2, QWEN35, CL100K, O200K, TEKKEN, KIMI, *DEEPSEEK]}
    by_regex[r"\p{N}"] = pre_tokenizers.Digits(True)
    by_regex[r"\p{N}+"] = pre_tokenizers.Digits(False)
    sizes = lambda splitter, text: [len(p.encode()) for p, _ in splitter.pre_tokenize_str(text)]
    out = {regex: in_batches([sizes(splitter, text) for text in strings])
           for regex, splitter in by_regex.items()}
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)  # a character for each byte
    out[GPT2] = in_batches([[len(p) for p, _ in byte_level.pre_tokenize_str(t)] for t in strings])
    ranks = [bytes([b]) for b in range(256)] + [bytes([a, b]) for a in range(256)
                                                for b in range(256)]
    pairs = tiktoken.Encoding("pairs", pat_str=KIMI, special_tokens={},
                              mergeable_ranks={token: rank for rank, token in enumerate(ranks)})
    return {"regex": out, "kimi_tiktoken_pairs": in_batches([pairs.encode(t) for t in strings])}


def ranges(code_points):
    flat = []
    for c in sorted(code_points):
        if flat and flat[-1] == c - 1:
            flat[-1] = c
        else:
            flat += [c, c]
    return flat


def unicode_classes(assigned):
    """Which assigned code points the library's engines take for what."""
    out = {"assigned": ranges(assigned)}
    for name in [r"\s"] + [rf"\p{{{c}}}" for c in ["L", "N", "M", "P", "S", "Lu", "Ll", "Lt", "Lm",
                                                 "Lo", "Han"]]:
        removed = pre_tokenizers.Split(Regex(name), "removed")
        kept = {ord(c) for piece, _ in removed.pre_tokenize_str("".join(map(chr, assigned)))
                for c in piece}
        out[name] = ranges(set(assigned) - kept)
    # The flags of added tokens use another engine: ask it through them.
    tokenizer = Tokenizer(models.BPE(vocab={"x": 0}, merges=[], unk_token="x"))
    tokenizer.add_tokens([AddedToken("\ue000", single_word=True, normalized=False),
                          AddedToken("\ue001", rstrip=True, normalized=False)])
    word, space = tokenizer.token_to_id("\ue000"), tokenizer.token_to_id("\ue001")
    plain = [c for c in assigned if c not in (0xE000, 0xE001)]
    out[r"\w of flags"] = ranges(c for c in plain if word not in
                                 tokenizer.encode(chr(c) + "\ue000").ids)
    out[r"\s of flags"] = ranges(c for c in plain if tokenizer.encode("\ue001" + chr(c)).ids
                                 == [space])
    composed = "".join(normalizers.NFC().normalize_str(chr(c)) for c in assigned)
    out["nfc_sha256"] = hashlib.sha256(composed.encode()).hexdigest()
    return out


def main():
    versions = (tokenizers.__version__, tiktoken.__version__, unicodedata.unidata_version)
    if versions != ("0.23.3", "0.14.0", "14.0.0"):
        sys.exit("needs tokenizers 0.23.3, tiktoken 0.14.0 and a Python whose unicodedata is 14.0.0 "
                 f"(3.11); this is {versions}")
    (OUT / "variants").mkdir(parents=True, exist_ok=True)
    assigned = assigned_in_13()
    added = [token.content for token in FLAG_TOKENS]
    source, more_source = Strings(13, assigned, added), MoreStrings(14, assigned, added)
    strings = [source.make() for _ in range(10000)]
    more = [""] + [more_source.make() for _ in range(2499)]
    write = lambda path, data: path.write_text(
        json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    write(OUT / "strings.json", strings)
    write(OUT / "strings_more.json", more)
    write(OUT / "unicode_classes.json", unicode_classes(assigned))
    strings += more
    write(OUT / "splits.json", expect_splits(strings))
    texts = read_texts("calibration.jsonl")
    expected = {"library": f"tokenizers {tokenizers.__version__}", "long_texts": LONG,
                "batch": BATCH, "tokenizers": {"reference-fp8": expect(
                    "reference-fp8", encoder(Tokenizer.from_file(str(REFERENCE))), strings, 10000)}}
    for name, (tokenizer, data) in (byte_variants(texts) | character_variants(texts)).items():
        write(OUT / "variants" / f"{name}.json", data)
        expected["tokenizers"][name] = expect(name, encoder(tokenizer), strings, 1000)
        print(name, tokenizer.get_vocab_size(), file=sys.stderr)
    kimi = KimiTiktoken(texts)
    kimi.write(OUT / "kimi_tiktoken")
    expected["tokenizers"]["kimi_tiktoken"] = expect("kimi_tiktoken", kimi.ids, strings, 1000)
    write(OUT / "expected.json", expected)


if __name__ == "__main__":
    main()
