"""The page: gradio around an own component, and the addresses that the component talks to.

Nothing is fetched from anywhere else, and the browser is told to refuse it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from distill.labels.review.choices import Choice
from distill.labels.review.order import Wanted
from distill.labels.review.questions import NO_TEACHER, TASKS, Panel
from distill.labels.review.session import Session
from distill.labels.review.views import overview, picture_view, png_of
from edge.errors import LoomsightError, OutputError
from edge.web.address import LOOPBACK

TITLE = "loomsight review"

POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
"""Gradio builds functions from text; everything that is loaded comes from this server."""

PRESENT = "(task, text, picture, place) => [task, text, ...window.loomsightReview.present()]"
SHOW = "(regions) => window.loomsightReview.showAnswer(regions)"


class Undo(BaseModel):
    """Ask for the last decision to be taken back."""

    wanted: Wanted


def web_app(session: Session, panel: Panel, host: str) -> FastAPI:
    """Return the web application of a review.

    Args:
        session: of the review.
        panel: the prompt panel.
        host: address it is bound to; under a loopback address other names are refused, so that no page
            elsewhere can reach it by a name of its own.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
    app.middleware("http")(_guarded)
    app.add_exception_handler(LoomsightError, _said)
    _add_addresses(app, session)
    quiet: dict[str, Any] = {
        "footer_links": [], "run_history": False, "ssr_mode": False, "mcp_server": False, "pwa": False,
        "enable_monitoring": False,
    }  # fmt: skip
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    mounted: FastAPI = gr.mount_gradio_app(app, _blocks(panel), path="/", theme=theme, **quiet)
    return mounted


def _blocks(panel: Panel) -> Any:
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(
            html_template=_shipped("page.html"),
            css_template=_shipped("page.css"),
            js_on_load=_shipped("page.js"),
            apply_default_css=False,
            elem_id="review",
        )
        with gr.Accordion("Ask the teacher about this picture", open=False, elem_id="prompt"):
            if panel.teacher is None:
                gr.Markdown(NO_TEACHER)
            else:
                _question_form(panel)
    return blocks


def _question_form(panel: Panel) -> None:
    with gr.Row():
        task = gr.Dropdown(list(TASKS), value=TASKS[0], label="Task", elem_id="task")
        text = gr.Textbox(label="Words, or a place in location tokens", elem_id="words")
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
    answer = gr.Textbox(label="Answer", lines=4, interactive=False, elem_id="answer")
    picture, place = gr.Textbox(visible=False), gr.Number(visible=False, precision=0)
    regions = gr.JSON(visible=False)
    asked = ask.click(
        panel.ask, [task, text, picture, place], [answer, regions], js=PRESENT, api_visibility="private"
    )
    asked.then(None, [regions], None, js=SHOW, api_visibility="private")


def _add_addresses(app: FastAPI, session: Session) -> None:
    @app.get("/review/overview")
    def _overview() -> dict[str, Any]:
        return overview(session)

    @app.get("/review/picture")
    def _picture(wanted: Wanted, name: str | None = None, position: int | None = None) -> dict[str, Any]:
        return picture_view(session, wanted, name=name, position=position)

    @app.get("/review/pixels")
    def _pixels(name: str) -> Response:
        return Response(png_of(session, name), media_type="image/png")

    @app.post("/review/decide")
    def _decide(choice: Choice) -> dict[str, Any]:
        return {"warning": session.decide(choice), "version": session.version(choice.picture)}

    @app.post("/review/undo")
    def _undo(undo: Undo) -> dict[str, Any]:
        name, warning = session.undo()
        return {"warning": warning, "picture": name}

    @app.post("/review/finish")
    def _finish(undo: Undo) -> dict[str, Any]:
        return {"decisions": session.finish()}


async def _guarded(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await go_on(request)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def _said(request: Request, error: Exception) -> Response:
    """Answer with the one line that a command would print."""
    status = 507 if isinstance(error, OutputError) else 422
    return JSONResponse({"problem": str(error)}, status_code=status)


def _shipped(name: str) -> str:
    return resources.files("distill.labels.review").joinpath(name).read_text(encoding="utf-8")
