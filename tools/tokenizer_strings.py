# SPDX-License-Identifier: Apache-2.0
"""The strings on which tokenizers are compared (make_tokenizer_expected.py).

A code point counts as assigned in Unicode 13.0 if Python 3.11's unicodedata, which is 14.0, has it and
ADDED_IN_14 (DerivedAge.txt, 838 code points) has not. Engines of different Unicode versions agree on
those, which is what is tested.
"""
import json
import pathlib
import random
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent

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


def assigned_in_13():
    new = {c for low, high in ADDED_IN_14 for c in range(low, high + 1)}
    return [c for c in range(0x110000)
            if c not in new and unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def read_texts(name):
    lines = (ROOT / "text" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


class Strings:
    """Awkward strings: each joins a few pieces, each piece drawn by one of the rules below."""

    def __init__(self, seed, assigned, added_tokens):
        self.random = random.Random(seed)
        by_category = {}
        for c in assigned:
            by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
        self.by_category = by_category
        self.added_tokens = added_tokens
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
        token = self.random.choice(self.added_tokens)
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

    def __init__(self, seed, assigned, added_tokens):
        super().__init__(seed, assigned, added_tokens)
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
