"""Serve one camera as a vision system: show its state and results, tell events, take method calls."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from asyncua import Server, ua
from asyncua.server.event_generator import EventGenerator

from edge.core.errors import LoomsightError
from edge.opcua.control import REFUSED, Answer, CameraControl
from edge.opcua.nodes import (
    DEFECT,
    MACHINE,
    MODE,
    RESULT,
    RESULTS,
    VARIABLES,
    Int32,
    Nodes,
    String,
)
from edge.opcua.results import MOST_CHARACTERS, CameraResults, FoundDefect, News, Result
from edge.opcua.sessions import CALLER
from edge.opcua.states import MACHINE_NUMBERS, MODE_NUMBERS, VisionState, state_of
from edge.page.live import LivePage
from edge.process.supervised import Telling

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

LONGEST_NAME: Final = 200

GIVES: Final = (
    ("Error", Int32, "0: done; -1: refused, and Reason says why."),
    ("Reason", String, "Why it was refused."),
)

DEFECT_SEVERITY, RESULT_SEVERITY, STATE_SEVERITY = 500, 300, 200


class EventTypes:
    """Hold the types of events, which all vision systems share."""

    def __init__(self, defect: Any, result: Any, state: Any) -> None:
        self.defect, self.result, self.state = defect, result, state

    @classmethod
    async def build(cls, server: Server, index: int) -> EventTypes:
        """Make the types."""
        base = ua.ObjectIds.BaseEventType
        make = server.create_custom_event_type
        results = [(name, kind) for name, (_, kind) in RESULT.items()]
        return cls(
            await make(index, "DefectEventType", base, list(DEFECT.items())),
            await make(index, "ResultReadyEventType", base, results),
            await make(index, "StateChangedEventType", base, [("FromState", String), ("ToState", String)]),
        )


class VisionSystem:
    """Serve one camera.

    Args:
        server: that the nodes belong to.
        index: of the namespace.
        name: of the object.
        live: what the run tells.
        control: takes what clients ask for.
        results: reads what has happened.
    """

    def __init__(
        self,
        server: Server,
        index: int,
        name: str,
        live: LivePage,
        control: CameraControl,
        results: CameraResults,
    ) -> None:
        self._server = server
        self._live = live
        self._control = control
        self._results = results
        self._nodes = Nodes(server, index, name)
        self._one = asyncio.Lock()
        self._state: VisionState | None = None
        self._telling = Telling()
        self._events: dict[str, list[EventGenerator]] = {}

    async def build(self, types: EventTypes) -> None:
        """Make the nodes."""
        await self._nodes.build(self._live.device.camera)
        recipes = list(self._live.device.articles)
        await self._nodes.show("RecipeManagement.Recipes", recipes, String)
        system = self._nodes.node()
        for kind, node in vars(types).items():
            self._events[kind] = [
                await self._server.get_event_generator(node, emitting)
                for emitting in (system.nodeid, ua.NodeId(ua.ObjectIds.Server))
            ]
            for generator in self._events[kind]:
                generator.event.SourceNode, generator.event.SourceName = (
                    system.nodeid,
                    str(system.nodeid.Identifier),
                )
        await self._add_methods()

    async def look(self) -> None:
        """Show how the run stands, and tell what is new; what keeps the record from being read is noted."""
        try:
            news = await self._beside(self._results.news)
            current = await self._beside(self._results.current)
        except (LoomsightError, sqlite3.Error) as error:
            self._note(error)
            news, current = News(), None
        await self._show(current)
        for defect in news.defects:
            await self._tell_defect(defect)
        for ended in news.ended:
            await self._show_result(RESULTS[1], ended)
            await self._tell("result", f"roll '{ended.job}' has ended", RESULT_SEVERITY, _fields(ended))
        await self._nodes.show("ResultManagement.Results", list(news.results), String)

    async def _show(self, current: Result | None) -> None:
        control, show = self._control, self._nodes.show
        job = control.job
        state = state_of(self._live, has_job=job is not None)
        values = {
            "JobId": job or "",
            "ErrorReason": state.reason,
            "RecipeManagement.ActiveRecipe": self._live.snapshot.run.terms.article or "",
            "RecipeManagement.PreparedRecipe": control.prepared or "",
        }
        for path, value in values.items():
            await show(path, value, VARIABLES[path][0])
        if current is not None:
            await self._show_result(RESULTS[0], current)
        await self._show_state(state)

    async def _show_state(self, state: VisionState) -> None:
        before, self._state = self._state, state
        changed = await self._nodes.show_state(MACHINE, state.machine, MACHINE_NUMBERS)
        changed |= await self._nodes.show_state(MODE, state.mode, MODE_NUMBERS)
        if changed:
            names = {"FromState": _called(before), "ToState": _called(state)}
            await self._tell("state", f"{names['ToState']} {state.reason}".strip(), STATE_SEVERITY, names)

    async def _show_result(self, path: str, result: Result) -> None:
        for name, (field, kind) in RESULT.items():
            await self._nodes.show(f"{path}.{name}", getattr(result, field), kind)

    async def _tell_defect(self, found: FoundDefect) -> None:
        row, defect = found.row, found.row.defect
        fields = {
            "JobId": found.job,
            "RollId": found.roll_id,
            "DefectId": row.event_id,
            "ClassName": defect.class_name,
            "Kind": defect.kind or "",
            "StartM": defect.start_m,
            "EndM": defect.end_m,
            "LeftMm": defect.left_mm,
            "RightMm": defect.right_mm,
            "Score": defect.score,
            "Points": row.points,
        }
        await self._tell("defect", f"{row.called} at {defect.start_m:.2f} m", DEFECT_SEVERITY, fields)

    async def _tell(self, kind: str, message: str, severity: int, fields: dict[str, Any]) -> None:
        for generator in self._events[kind]:
            for name, value in fields.items():
                setattr(generator.event, name, value)
            generator.event.Severity = severity
            generator.event.Message = ua.LocalizedText(message, "en")
            await generator.trigger()

    async def _add_methods(self) -> None:
        part = ("PartId", String, "Name of the roll; empty for one made of the time.")
        recipe = ("RecipeId", String, "Article; empty for the one prepared, else that of the roll before.")
        method, control = self._nodes.method, self._control
        await method(
            f"{MODE}.StartContinuous",
            self._call(2, lambda who, name, article: control.start(name, article, who), gives_job=True),
            (part, recipe),
            (("JobId", String, "Name of the roll."), *GIVES),
        )
        await method(f"{MODE}.Stop", self._call(0, control.stop), (), GIVES)
        await method(
            "RecipeManagement.PrepareRecipe",
            self._call(1, lambda who, article: control.prepare(article, who)),
            (recipe,),
            GIVES,
        )
        await method("StopMachine", self._call(0, control.stop_machine), (), GIVES)
        await method(
            "ResultManagement.GetResultById",
            self._call(1, lambda who, roll: self._report(roll), gives_job=True),
            (("ResultId", String, "Id of the roll, or its name."),),
            (("Result", String, "Report of the roll: JSON, as its schema describes it."), *GIVES),
        )

    def _call(self, count: int, work: Callable[..., Answer], *, gives_job: bool = False) -> Any:
        """Return what answers a method: checked texts in, the fields of the answer out."""

        async def call(parent: ua.NodeId, *given: ua.Variant) -> Any:
            wrong = _wrong(given, count)
            if wrong is not None:
                return ua.StatusCode(wrong)
            who, texts = CALLER.get(), [str(one.Value or "") for one in given]
            answer = await self._beside(lambda: work(who, *texts))
            out = [ua.Variant(answer.error, Int32), ua.Variant(answer.reason, String)]
            return [ua.Variant(answer.job, String), *out] if gives_job else out

        return call

    def _report(self, roll: str) -> Answer:
        try:
            text = self._results.report(roll)
        except (LoomsightError, sqlite3.Error) as error:
            return Answer(REFUSED, str(error))
        if len(text) > MOST_CHARACTERS:
            return Answer(REFUSED, "The report is too long for one answer: use `loomsight roll export`.")
        return Answer(job=text)

    async def _beside(self, work: Callable[[], Value]) -> Value:
        """Do some work in a thread, one piece at a time for a camera."""
        async with self._one:
            return await asyncio.to_thread(work)

    def _note(self, error: Exception) -> None:
        more = self._telling.more()
        if more is not None:
            logger.error("OPC UA: %s%s", error, more)
        self._live.health.helpers.note("opcua", str(error), is_told=more is not None)


def _wrong(given: Sequence[ua.Variant], count: int) -> int | None:
    """Return the status of arguments that are none of a method: it takes short texts."""
    if len(given) != count:
        codes = ua.StatusCodes
        return codes.BadArgumentsMissing if len(given) < count else codes.BadTooManyArguments
    texts = [one.Value for one in given]
    if not all(text is None or (isinstance(text, str) and len(text) <= LONGEST_NAME) for text in texts):
        return ua.StatusCodes.BadInvalidArgument
    return None


def _fields(result: Result) -> dict[str, Any]:
    return {name: getattr(result, field) for name, (field, _) in RESULT.items()}


def _called(state: VisionState | None) -> str:
    return "" if state is None else f"{state.machine}/{state.mode}" if state.mode else state.machine
