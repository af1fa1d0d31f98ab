"""Build the nodes of a camera: a vision system with state machine, recipes, results and methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from asyncua import Node, Server, ua

from edge.opcua.states import MACHINE_NUMBERS, MODE_NUMBERS

NAMESPACE: Final = "urn:loomsight:opcua:vision:1"
"""Of all nodes here. The number rises with each change that a client must know of."""

String, Double, Int32 = ua.VariantType.String, ua.VariantType.Double, ua.VariantType.Int32
UInt32, Boolean = ua.VariantType.UInt32, ua.VariantType.Boolean

RESULT: Final[dict[str, tuple[str, ua.VariantType]]] = {
    "JobId": ("job", String),
    "RollId": ("roll_id", String),
    "RecipeId": ("article", String),
    "Status": ("status", String),
    "IsPartial": ("is_partial", Boolean),
    "Grade": ("grade", String),
    "Points": ("points", UInt32),
    "PointsPer100M2": ("points_per_100_m2", Double),
    "Defects": ("defects", UInt32),
    "LengthM": ("length_m", Double),
    "InspectedM2": ("inspected_m2", Double),
    "Coverage": ("coverage", Double),
}
"""Variables of a result, and properties of the event at the end of a roll: field of `Result`, and type."""

DEFECT: Final[dict[str, ua.VariantType]] = {
    "JobId": String,
    "RollId": String,
    "DefectId": String,
    "ClassName": String,
    "Kind": String,
    "StartM": Double,
    "EndM": Double,
    "LeftMm": Double,
    "RightMm": Double,
    "Score": Double,
    "Points": UInt32,
}
"""Properties of the event of a defect."""

VARIABLES: Final[dict[str, tuple[ua.VariantType, Any]]] = {
    "JobId": (String, ""),
    "ErrorReason": (String, ""),
    "RecipeManagement.ActiveRecipe": (String, ""),
    "RecipeManagement.PreparedRecipe": (String, ""),
    "RecipeManagement.Recipes": (String, []),
    "ResultManagement.Results": (String, []),
}

MACHINE: Final = "VisionStateMachine"
MODE: Final = "VisionStateMachine.AutomaticModeStateMachine"
FOLDERS: Final = ("RecipeManagement", "ResultManagement")
RESULTS: Final = ("ResultManagement.CurrentResult", "ResultManagement.LatestResult")

Arguments = Sequence[tuple[str, ua.VariantType, str]]
Method = Callable[..., Awaitable[Any]]


class Nodes:
    """Make nodes below one object, each with its path as its id: `VisionSystem.JobId`.

    Args:
        server: that they belong to.
        index: of the namespace.
        root: id of the object.
    """

    def __init__(self, server: Server, index: int, root: str) -> None:
        self._server = server
        self._index = index
        self._root = root
        self._shown: dict[str, Any] = {}

    def node(self, path: str = "") -> Node:
        """Return a node by its path."""
        return self._server.get_node(self._id(path))

    async def build(self, description: str) -> None:
        """Make all nodes but the methods.

        Args:
            description: of the camera, for people.
        """
        system = await self._server.nodes.objects.add_object(self._id(""), self._name(self._root))
        await system.write_attribute(
            ua.AttributeIds.Description, ua.DataValue(ua.LocalizedText(description))
        )
        for path in (*FOLDERS, *RESULTS):
            await self._parent(path).add_object(self._id(path), self._name(path))
        await self._state_machine(MACHINE, MACHINE_NUMBERS)
        await self._state_machine(MODE, MODE_NUMBERS)
        for path, (kind, value) in VARIABLES.items():
            await self._variable(path, kind, value)
        for result in RESULTS:
            for name, (_, kind) in RESULT.items():
                await self._variable(f"{result}.{name}", kind, ua.get_default_value(kind))

    async def method(self, path: str, call: Method, takes: Arguments, gives: Arguments) -> None:
        """Make a method.

        Args:
            path: of it.
            call: answers it; it gets the id of the object, then the arguments.
            takes, gives: name, type and description of each argument.
        """
        given, got = (
            [_argument(*one) for one in takes],
            [_argument(*one) for one in gives],
        )
        await self._parent(path).add_method(self._id(path), self._name(path), call, given, got)

    async def show(self, path: str, value: Any, kind: ua.VariantType) -> None:
        """Write a variable, if it changed."""
        if repr(self._shown.get(path)) == repr(value) and path in self._shown:
            return
        self._shown[path] = value
        await self.node(path).write_value(ua.DataValue(ua.Variant(value, kind)))

    async def show_state(self, machine: str, state: str | None, numbers: dict[Any, int]) -> bool:
        """Write the state of a machine; None where it is in none.

        Returns:
            Whether it changed.
        """
        if machine in self._shown and self._shown[machine] == state:
            return False
        self._shown[machine] = state
        if state is None:
            away = ua.StatusCode(ua.StatusCodes.BadStateNotActive)
            for part in ("CurrentState", "CurrentState.Id", "CurrentState.Number"):
                node = self.node(f"{machine}.{part}")
                await node.write_value(ua.DataValue(StatusCode=away))
            return True
        text = ua.Variant(ua.LocalizedText(state, "en"), ua.VariantType.LocalizedText)
        await self.node(f"{machine}.CurrentState").write_value(ua.DataValue(text))
        await self.node(f"{machine}.CurrentState.Id").write_value(self._id(f"{machine}.{state}"))
        await self.node(f"{machine}.CurrentState.Number").write_value(
            ua.DataValue(ua.Variant(numbers[state], UInt32))
        )
        return True

    async def _state_machine(self, path: str, numbers: dict[Any, int]) -> None:
        machine = await self._parent(path).add_object(self._id(path), self._name(path))
        first = next(iter(numbers))
        current = await machine.add_variable(
            self._id(f"{path}.CurrentState"),
            ua.QualifiedName("CurrentState", 0),
            ua.LocalizedText("", "en"),
            ua.VariantType.LocalizedText,
        )
        await current.add_property(
            self._id(f"{path}.CurrentState.Id"),
            ua.QualifiedName("Id", 0),
            self._id(f"{path}.{first}"),
            ua.VariantType.NodeId,
        )
        await current.add_property(
            self._id(f"{path}.CurrentState.Number"), ua.QualifiedName("Number", 0), 0, UInt32
        )
        for state, number in numbers.items():
            node = await machine.add_object(
                self._id(f"{path}.{state}"), self._name(state), objecttype=ua.NodeId(ua.ObjectIds.StateType)
            )
            await (await node.get_child("0:StateNumber")).write_value(
                ua.DataValue(ua.Variant(number, UInt32))
            )

    async def _variable(self, path: str, kind: ua.VariantType, value: Any) -> None:
        await self._parent(path).add_variable(
            self._id(path), self._name(path), ua.Variant(value, kind, is_array=isinstance(value, list))
        )

    def _parent(self, path: str) -> Node:
        return self.node(path.rpartition(".")[0])

    def _id(self, path: str) -> ua.NodeId:
        return ua.NodeId(f"{self._root}.{path}" if path else self._root, self._index)

    def _name(self, path: str) -> ua.QualifiedName:
        return ua.QualifiedName(path.rpartition(".")[2], self._index)


def _argument(name: str, kind: ua.VariantType, description: str) -> ua.Argument:
    return ua.Argument(
        Name=name,
        DataType=ua.NodeId(kind.value),
        ValueRank=-1,
        ArrayDimensions=[],
        Description=ua.LocalizedText(description),
    )
