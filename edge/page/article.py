"""Describe the state of the article in plain words: whether it was taught, and what that promises."""

from __future__ import annotations

from typing import Any, Final, Literal

from edge.page.trouble import Level
from edge.teach.article_file import ArticleFile
from edge.teach.values import TeachingNow

Tone = Level | Literal["good"]

NO_STOPS: Final = "Until it is learnt, nothing stops the machine."

UNTAUGHT: Final = "Only defects that the detector knows are reported."


def article_json(
    name: str | None, taught: ArticleFile | None, teaching: TeachingNow | None = None
) -> dict[str, Any]:
    """Return what to show of an article.

    Args:
        name: of the article on the loom; None if nobody named one.
        taught: its article file; None if nobody taught it.
        teaching: how far it is with being learnt; None if it is not.
    """
    if teaching is not None:
        who = teaching.article or "The article on the loom"
        stops = f" {NO_STOPS}" if teaching.is_new else ""
        text = f"{who} is being learnt."
        more = f"{_sentence(teaching.text())}{stops}"
        shown = _shown("note", teaching.article, text, more, is_taught=taught is not None)
        return {**shown, "teaching": teaching.as_json()}
    if taught is None:
        who = f"{name}: not taught yet." if name else "No article was taught."
        return _shown("note", name, who, UNTAUGHT, is_taught=False)
    own, promise = taught.manifest.article, _sentence(taught.manifest.promise.text())
    if name is not None and name != own:
        text = f"{name}: the device uses what it was taught of {own}."
        cure = f"Is {own} on the loom? Else name the right article file in the settings."
        return _shown("warn", name, text, cure, is_taught=True)
    return _shown("good", own, f"{own}: taught.", promise, is_taught=True)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _shown(level: Tone, name: str | None, text: str, more: str, *, is_taught: bool) -> dict[str, Any]:
    return {
        "level": level,
        "name": name,
        "text": text,
        "more": more,
        "is_taught": is_taught,
        "teaching": None,
    }
