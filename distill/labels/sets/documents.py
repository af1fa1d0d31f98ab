"""Read text, JSON and XML as other programs leave them: any encoding, damaged, or meant to do harm."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from edge.core.errors import DatasetError
from edge.core.outside_files import LABELS_BYTES, read_bytes

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_DECLARED_ENCODING = re.compile(rb"^[^<]{0,8}<\?xml[^>]*encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_NOT_OF_TEXT = ("utf_16", "utf_32", "undefined", "unicode_escape", "raw_unicode_escape", "idna", "punycode")
"""Python's codecs that cannot be what a declaration written in single bytes is in."""

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""In this order: that of UTF-32 begins with that of UTF-16."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


YAML_BYTES = 1 << 18
"""Most bytes of a data.yaml: ten thousand classes have fewer, and a longer one takes long to parse."""


def read_text(path: Path, most_bytes: int = LABELS_BYTES) -> str:
    """Read a text by its byte order mark, as UTF-8 or, failing that, as GB 18030, of which GBK is a part.

    Raises:
        DatasetError: if it cannot be read, is none of them or is too long.
    """
    data = _read_bytes(path, most_bytes)
    return _decoded(data, path, [*_marked(data), "utf-8-sig", "gb18030"]).removeprefix("\ufeff")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Aliases stand for single values only: lists of aliases of lists can be made to fill the memory.

    Raises:
        DatasetError: if it cannot be read or is no YAML.
    """
    try:
        return yaml.load(read_text(path, YAML_BYTES), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        reason = getattr(error, "problem", None) or error
        raise DatasetError(f"{path} is not valid YAML: {str(reason)[:200]}.", "Correct it.") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Load plain values; an alias of a list or of a mapping is refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias and not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError("an alias stands for a list or a mapping: write it out")
        return node


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: if it cannot be read or is no JSON.
    """
    return json_from_text(read_text(path), str(path))


def json_from_text(text: str, where: str) -> Any:
    """Parse JSON; `where` names it in the message.

    Raises:
        DatasetError: if it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{where} is not valid JSON: {error}.", "Correct it or write it again."
        ) from error


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file in the encoding it declares, in UTF-8 or in GB 18030, whichever fits first.

    No program that labels images writes a document type, and entities can be made to fill the memory, so
    a file with one is refused.

    Raises:
        DatasetError: if it cannot be read, is damaged or declares a document type.
    """
    data = _read_bytes(path)
    encodings = [*_marked(data), *_declared(data), "utf-8-sig", "gb18030"]
    text = _DECLARATION.sub("", _decoded(data, path, encodings).lstrip("\ufeff"))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DatasetError(f"{path} declares a document type.", "Remove it: labels need none.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: {error}.", "Label the image again.") from error


def text_from_xml(root: ElementTree.Element, *, declares_encoding: bool = True) -> str:
    """Return an element as an indented file.

    Args:
        root: the outermost element.
        declares_encoding: begin with an XML declaration; lxml refuses one in a text already decoded.
    Raises:
        DatasetError: if a name holds a character that XML cannot hold.
    """
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode")
    forbidden = _NOT_XML.search(text)
    if forbidden:
        around = text[max(0, forbidden.start() - 20) : forbidden.end() + 20]
        raise DatasetError(f"XML cannot hold the character in {around!r}.", "Rename the class or the file.")
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n' if declares_encoding else ""
    return f"{declaration}{text}\n"


def number_text(value: float) -> str:
    """Return a number as labelling programs write it: whole if it is, else with all its digits."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _read_bytes(path: Path, most_bytes: int = LABELS_BYTES) -> bytes:
    return read_bytes(path, most_bytes, DatasetError)


def _marked(data: bytes) -> list[str]:
    """Return the encoding that a byte order mark, or the zeros beside the first `<`, tell."""
    begins = {**_BYTE_ORDER_MARKS, b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
    return [encoding for begin, encoding in begins.items() if data.startswith(begin)][:1]


def _declared(data: bytes) -> list[str]:
    """Return the encoding that an XML declaration names, unless the declaration itself shows it is another.

    Declarations are copied from other files: one that can be read byte by byte is not in UTF-16.
    """
    found = _DECLARED_ENCODING.match(data)
    try:
        name = codecs.lookup(found[1].decode("ascii")).name.replace("-", "_") if found else ""
    except LookupError:
        return []
    return [name] if name and not name.startswith(_NOT_OF_TEXT) else []


def _decoded(data: bytes, path: Path, encodings: list[str]) -> str:
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    raise DatasetError(f"{path} is in none of the encodings {', '.join(encodings)}.", "Save it as UTF-8.")
