#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes goldens/tokenizer: what the `tokenizers` and `tiktoken` libraries make of awkward text.

    python3.11 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3 tiktoken==0.14.0
    /tmp/venv/bin/python tools/make_tokenizer_expected.py

Needs exactly those libraries and Python 3.11: its unicodedata is Unicode 14.0, and a code point counts
as assigned in Unicode 13.0 if it is assigned there and not in ADDED_IN_14 (DerivedAge.txt, 838 code
points). Engines of different Unicode versions agree on those, which is what is tested.

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
import pathlib
import random
import struct
import sys
import unicodedata

import tiktoken
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "goldens" / "tokenizer"
REFERENCE = ROOT / "models" / "reference-fp8" / "tokenizer.json"

ADDED_IN_14 = [
    (0x61D, 0x61D), (0x870, 0x88E), (0x890, 0x891), (0x898, 0x89F), (0x8B5, 0x8B5), (0x8C8, 0x8D2),
    (0xC3C, 0xC3C), (0xC5D, 0xC5D), (0xCDD, 0xCDD), (0x170D, 0x170D), (0x1715, 0x1715),
    (0x171F, 0x171F), (0x180F, 0x180F), (0x1AC1, 0x1ACE), (0x1B4C, 0x1B4C), (0x1B7D, 0x1B7E),
    (0x1DFA, 0x1DFA), (0x20C0, 0x20C0), (0x2C2F, 0x2C2F), (0x2C5F, 0x2C5F), (0x2E53, 0x2E5D),
    (0x9FFD, 0x9FFF), (0xA7C0, 0xA7C1), (0xA7D0, 0xA7D1), (0xA7D3, 0xA7D3), (0xA7D5, 0xA7D9),
    (0xA7F2, 0xA7F4), (0xFBC2, 0xFBC2), (0xFD40, 0xFD4F), (0xFDCF, 0xFDCF), (0xFDFE, 0xFDFF),
    (0x10570, 0x1057A), (0x1057C, 0x1058A), (0x1058C, 0x10592), (0x10594, 0x10595),
    (0x10597, 0x105A1), (0x105A3, 0x105B1), (0x105B3, 0x105B9), (0x105BB, 0x105BC),
    (0x10780, 0x10785), (0x10787, 0x107B0), (0x107B2, 0x107BA), (0x10F70, 0x10F89),
    (0x11070, 0x11075), (0x110C2, 0x110C2), (0x116B9, 0x116B9), (0x11740, 0x11746),
    (0x11AB0, 0x11ABF), (0x12F90, 0x12FF2), (0x16A70, 0x16ABE), (0x16AC0, 0x16AC9),
    (0x1AFF0, 0x1AFF3), (0x1AFF5, 0x1AFFB), (0x1AFFD, 0x1AFFE), (0x1B11F, 0x1B122),
    (0x1CF00, 0x1CF2D), (0x1CF30, 0x1CF46), (0x1CF50, 0x1CFC3), (0x1D1E9, 0x1D1EA),
    (0x1DF00, 0x1DF1E), (0x1E290, 0x1E2AE), (0x1E7E0, 0x1E7E6), (0x1E7E8, 0x1E7EB),
    (0x1E7ED, 0x1E7EE), (0x1E7F0, 0x1E7FE), (0x1F6DD, 0x1F6DF), (0x1F7F0, 0x1F7F0),
    (0x1F979, 0x1F979), (0x1F9CC, 0x1F9CC), (0x1FA7B, 0x1FA7C), (0x1FAA9, 0x1FAAC),
    (0x1FAB7, 0x1FABA), (0x1FAC3, 0x1FAC5), (0x1FAD7, 0x1FAD9), (0x1FAE0, 0x1FAE7),
    (0x1FAF0, 0x1FAF6), (0x2A6DE, 0x2A6DF), (0x2B735, 0x2B738)]

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


def assigned_in_13():
    new = {c for low, high in ADDED_IN_14 for c in range(low, high + 1)}
    return [c for c in range(0x110000)
            if c not in new and unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def read_texts(name):
    lines = (ROOT / "text" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


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


# ---- strings


class Strings:
    """Awkward strings: each joins a few pieces, each piece drawn by one of the rules below."""

    def __init__(self, seed, assigned):
        self.random = random.Random(seed)
        by_category = {}
        for c in assigned:
            by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
        self.by_category = by_category
        self.categories = sorted(by_category)
        self.marks = [c for k in ("Mn", "Mc", "Me") for c in by_category[k]]
        self.cased = by_category["Lu"] + by_category["Lt"] + by_category["Ll"]
        self.words = sorted({w for t in read_texts("calibration.jsonl") for w in t.split()})
        self.rules = [self.any_character, self.any_character, self.digits, self.marked, self.jamo,
                      self.emoji, self.space, self.space, self.contraction, self.word, self.word,
                      self.special, self.cased_run, self.symbols, self.run, self.unnormalized,
                      self.cjk, self.flag_token]

    def char(self, *categories):
        return chr(self.random.choice(self.by_category[self.random.choice(categories)]))

    def some(self, make, most):
        return "".join(make() for _ in range(self.random.randint(1, most)))

    def any_character(self):
        return self.char(*self.categories)

    def digits(self):
        if self.random.random() < 0.5:
            return self.some(lambda: self.random.choice("0123456789"), 7)
        return self.some(lambda: self.char("Nd", "Nd", "Nl", "No"), 5)

    def marked(self):
        base = self.random.choice(["e", "a", "o", "A", "क", "ก", "ا", "は", " ", "", "1", "'"])
        return base + self.some(lambda: chr(self.random.choice(self.marks)), 3)

    def jamo(self):
        lead, vowel, tail = (chr(self.random.randint(*r)) for r in
                             ((0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2)))
        whole = chr(self.random.randint(0xAC00, 0xD7A3))
        return self.random.choice([lead, lead + vowel, lead + vowel + tail, whole, whole + tail])

    def emoji(self):
        person = self.random.choice("👩👨🧑👧❤🏳")
        tone = self.random.choice(["", "🏽", "\ufe0f"])
        other = self.random.choice(["", "\u200d💻", "\u200d👧\u200d👦", "\u200d🌈"])
        return person + tone + other

    def space(self):
        pool = ["\r\n", "\n", "\r", "\t", " ", "  ", "\u0085", "\u00a0", "\u180e", "\u200b",
                "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u1680", "\u2003", "\ufeff",
                "\u000b", "\u000c", "\u001c", "\u001f", "\u2060", "\u0000", " ", "\n"]
        return self.some(lambda: self.random.choice(pool), 3)

    def contraction(self):
        pool = ["'s", "'S", "'\u017f", "'t", "'T", "'re", "'Re", "'VE", "'vE", "'m", "'M", "'ll",
                "'LL", "'lL", "'d", "'D", "\u2019s", "''s", "'x", "'r", "'\u017ft", "'\u212a"]
        return self.random.choice(["I", "we", "", " ", "É", "1"]) + self.random.choice(pool)

    def word(self):
        lead = self.random.choice(["", " ", " ", "_", "."])
        return lead + self.random.choice(self.words)[:12]

    def special(self):
        pool = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_", "|>", "<|im_end|",
                "<|IM_END|>", "<|im_start|>user\n", "<|im_end|>\n", "<unk>", " <|endoftext|> "]
        return self.random.choice(pool)

    def flag_token(self):
        pad = ["", "", " ", "  ", "\n", "\t", "a", "_", "\u00a0", "é", ")"]
        token = self.random.choice(FLAG_TOKENS).content
        if self.random.random() < 0.3:
            token = unicodedata.normalize(self.random.choice(["NFC", "NFD"]), token)
        return self.random.choice(pad) + token + self.random.choice(pad)

    def cased_run(self):
        if self.random.random() < 0.5:
            return self.some(lambda: self.random.choice("aBcDéÉßẞǅ"), 6)
        return self.some(lambda: chr(self.random.choice(self.cased)), 4)

    def symbols(self):
        tail = self.random.choice(["", "\n", "\r\n", "/", "//\n"])
        return self.some(lambda: self.random.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~€«»…—"),
                         4) + tail

    def run(self):
        unit = self.random.choice(["a", " ", "\n", "1", "=", "é", "e\u0301", "한", "A", "\t", "0"])
        return unit * self.random.randint(2, 14)

    def unnormalized(self):
        pool = self.by_category["Ll"] + self.by_category["Lo"] + self.by_category["So"]
        c = chr(self.random.choice(pool))
        return self.random.choice([unicodedata.normalize("NFD", "Åéñüự"), "\u212b", "\u1e9b\u0323",
                                   "\u0344", "\u2126", "\ufb1d", unicodedata.normalize("NFD", c)])

    def cjk(self):
        pool = [(0x4E00, 0x9FA5), (0x3041, 0x3096), (0x30A1, 0x30FA), (0xF900, 0xFA6D),
                (0x20000, 0x2A6DD), (0x9FA6, 0x9FEF)]
        return self.some(lambda: chr(self.random.randint(*self.random.choice(pool))), 3)

    def make(self):
        return self.some(lambda: self.random.choice(self.rules)(), 8)


class MoreStrings(Strings):
    """Strings for tokenizers that make spaces visible, fall back to bytes or know Han."""

    def __init__(self, seed, assigned):
        super().__init__(seed, assigned)
        self.rules += 2 * [self.visible_space, self.sentence, self.control, self.kimi, self.han]

    def visible_space(self):
        return self.some(lambda: self.random.choice(["▁", " ", "▁▁", "  ", "_", "▁a", "a▁", "▔"]), 4)

    def sentence(self):
        return self.random.choice(["", " ", "  "]) + " ".join(
            self.random.choice(self.words)[:12] for _ in range(self.random.randint(1, 6)))

    def control(self):
        return self.random.choice(["<s>", "</s>", "<unk>", " <s> ", "<s>▁", "<0x0A>", "<0xE2>",
                                   "<0x", "<s", "\n<s>", "</s> "])

    def kimi(self):
        return self.random.choice(["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "[UNK]", "[PAD",
                                   "<|reserved_token_1000|>", "<|im_middle|>", "<|im_", "[EOT]\n"])

    def han(self):
        pool = [(0x4E00, 0x9FA5), (0x3041, 0x3096), (0x3001, 0x3007), (0x3021, 0x302D),
                (0x3038, 0x303B), (0x2E80, 0x2E99), (0x2F00, 0x2FD5), (0x16FE2, 0x16FE3),
                (0x16FF0, 0x16FF1), (0x20000, 0x2A6DD), (0xF900, 0xFA6D), (0x41, 0x5A),
                (0x61, 0x7A), (0x30FB, 0x30FF), (0xAC00, 0xD7A3)]
        return self.some(lambda: chr(self.random.randint(*self.random.choice(pool))), 5)


LONG = [  # (before, unit, times, behind): built again by the test
    ("", "a", 100000, ""), ("", "ab", 40000, "c"), ("", "A", 50000, ""), ("", "Ab", 30000, ""),
    ("", " ", 100000, "x"), ("x", "\n", 60000, "x"), ("", " \r\n", 20000, ""),
    ("", "1", 50000, ""), ("", "=", 50000, "\n"), ("", "e\u0301", 20000, ""),
    ("e", "\u0301\u0323", 10000, "x"), ("", "\u1112\u1161\u11ab", 10000, ""),
    ("", "ไม่", 10000, ""), ("", "क्षि", 8000, ""), ("", "\U0001f469\u200d\U0001f4bb", 5000, ""),
    ("", "漢字かな", 8000, ""), ("don", "'t", 20000, ""), ("", "<|endoftext|> ", 4000, ""),
    ("", "the management of data ", 3000, ""), ("a", "\u0000", 20000, "b"),
    ("", "!a", 20000, ""), ("", " word", 10000, "y"),
    ("", "漢々", 30000, "字"), ("A", "\u0e01\u0301", 30000, "a"), (" ", "▁ ", 20000, "x"),
    ("x", "\u001c \u180e", 20000, "y"), ("<s>", "a b c word ", 45000, ""),
    ("", "11111111\u001c", 9000, "")]


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
    source, more_source = Strings(13, assigned), MoreStrings(14, assigned)
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
