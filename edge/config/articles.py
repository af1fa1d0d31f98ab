"""Read the settings that an article of cloth has of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from edge.config.stop import StopSettings
from edge.core.settings import OwnPath

logger = logging.getLogger(__name__)

Layers = dict[str, dict[str, Any]]


class ArticleSettings(BaseModel):
    """Hold the table `[articles."NAME"]`; what is None is as for any other cloth. See `EdgeConfig`.

    Contrast enhancement comes with the model: a network sees cloth as it was trained to see it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    model: OwnPath | None = None
    reference: OwnPath | None = None
    score_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None
    selvedge_margin_mm: float | None = Field(default=None, ge=0, le=1000)
    cloth_width_mm: float | None = Field(default=None, gt=0, le=10_000)
    grade_limits: dict[str, Annotated[float, Field(ge=0, le=1e9)]] | None = None
    stop: StopSettings | None = None


def with_article(layers: Mapping[str, Mapping[str, Any]]) -> Layers:
    """Put the table of the article that is named in any layer behind the layer that has it.

    So it wins over what the file says for any cloth, and the environment and flags win over it.

    Args:
        layers: source -> values, not yet checked.
    """
    given = {
        key: values[key] for values in layers.values() for key in ("article", "articles") if key in values
    }
    article, tables = given.get("article"), given.get("articles")
    if not isinstance(tables, dict) or not isinstance(article, str):
        return {source: dict(values) for source, values in layers.items()}  # the check says what is wrong
    own = tables.get(article)
    if tables and own is None:
        logger.warning("article '%s' has no settings of its own", article)
    found: Layers = {}
    for source, values in layers.items():
        found[source] = dict(values)
        if isinstance(own, dict) and values.get("articles") is tables:
            found[f"{source}, article '{article}'"] = own
    return found
