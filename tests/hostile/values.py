"""Values that a setting, a file or a row may hold and no person would write, as Hypothesis strategies."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

NUMBER_TEXTS = (
    "0",
    "-0",
    "-1",
    "1",
    "0.0",
    "1e308",
    "-1e308",
    "1e-308",
    "1e999",
    "-1e999",
    "inf",
    "-inf",
    "nan",
    "NaN",
    "Infinity",
    "5000",
    "65536",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999",
    "9" * 400,
    "9" * 5000,
    "0x10",
    "1_000",
    "٣",
    "²",
    "½",
    "1,5",
    "1e",
    "--1",
    "+",
)
"""Numbers at and beyond every edge, and texts that look like numbers to some readers and not to others."""

TEXTS = (
    "",
    " ",
    "\t",
    "\n",
    "a\nb",
    "~",
    "~/",
    "~nobody-of-this-name/x",
    "/",
    ".",
    "..",
    "../..",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/proc/self/mem",
    "a" * 300,
    "a/" * 2000,
    "布",
    "é",
    "\x1b[2J",
    "\u202e",
    "{}",
    "[]",
    "null",
    "true",
    "loom",
    "loom:",
    "loom:seed=",
    "loom:length_m=1e308",
    "basler:",
    "aravis:serial=",
    "rtsp://",
    "http://[",
    "mqtt://a..b",
    "mqtt://[::1",
    "mqtts://x:99999",
    "0.0.0.0:99999",
    "[::1]:0",
    "'",
    '"',
    "\\",
    "%s",
    "${HOME}",
)
"""Texts for names, paths, addresses and tables."""

NESTED_TEXTS = ("[" * 5000, "{" * 5000, '{"a":' * 3000, "[" * 3000 + "]" * 3000, '"' + "\\ud800" + '"')
"""Documents that end readers which call themselves."""

BINARY = (b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xff\xfea\0=\x001\0", b"a = \xd4\xff", b"\x00" * 4096)
"""Files that are no text, or text in other encodings."""

numbers = st.sampled_from(NUMBER_TEXTS)
texts = st.one_of(st.sampled_from(TEXTS), numbers, st.sampled_from(NESTED_TEXTS))
arguments = texts.filter(lambda text: "\0" not in text)
"""Words of a command line."""

toml_values = st.one_of(
    st.sampled_from(
        (
            "0",
            "-1",
            "1e308",
            "inf",
            "nan",
            "true",
            "[]",
            "{}",
            "{a = {}}",
            '""',
            "[1, 'a', {}]",
            "0x" + "f" * 5000,
            "9" * 5000,
            "[" * 2000 + "]" * 2000,
            "{a = " * 500 + "1" + "}" * 500,
            "1979-05-27T07:32:00Z",
            '"\\uD800"',
            '"\\u0000"',
            '"~nobody/x"',
            "'''a\nb'''",
        )
    ),
    st.sampled_from(TEXTS).map(json.dumps),
)
"""What stands behind `key = ` in a TOML file."""

json_values = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", [], {}]
    ),
    st.sampled_from(TEXTS),
    st.sampled_from([[[]] * 3, {"a": {"b": {}}}, ["x"] * 1000, [1e308] * 4, "\ud800", "a\0b"]),
)
"""Values in the place of others in a JSON document."""


def places_of(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON document but the document itself."""
    keys: Any = document.keys() if isinstance(document, dict) else range(len(document))
    paths = []
    for key in keys:
        paths.append((*path, key))
        if isinstance(document[key], dict | list):
            paths += places_of(document[key], (*path, key))
    return paths


@st.composite
def mutated_json(draw: st.DrawFn, document: Any) -> str:
    """Draw the text of a JSON document with values exchanged, left out, repeated or added, or cut off."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = places_of(changed)
        if not places:
            break
        *path, key = draw(st.sampled_from(places))
        parent = changed
        for part in path:
            parent = parent[part]
        how = draw(st.sampled_from(["exchange", "exchange", "leave out", "repeat", "add"]))
        if how == "exchange":
            parent[key] = copy.deepcopy(draw(json_values))
        elif how == "leave out":
            del parent[key]
        elif how == "repeat" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(TEXTS))] = copy.deepcopy(draw(json_values))
    text = _as_json(changed)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def _as_json(document: Any) -> str:
    """Spell a document out, numbers of hundreds of digits and lone surrogates included."""
    return json.dumps(document)
