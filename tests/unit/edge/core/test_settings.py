"""Settings from layers: the later wins, and a mistake is named with the layer it stands in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from edge.core.errors import ConfigError
from edge.core.settings import environment_values, resolved, toml_values


class Lamp(BaseModel):
    model_config = ConfigDict(extra="forbid")
    watts: int


class Room(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    lamp: Lamp = Lamp(watts=40)
    lamps: int = 1
    sockets: int = 4

    @model_validator(mode="after")
    def _has_sockets(self) -> Room:
        if self.lamps > self.sockets:
            raise ValueError("lamps must not outnumber sockets")
        return self


@given(st.lists(st.dictionaries(st.sampled_from(["lamps", "sockets"]), st.integers(2, 4)), max_size=4))
def test_the_later_layer_wins_key_by_key(layers):
    layers = [{"name": "hall", "sockets": 4}, *({**layer, "sockets": 4} for layer in layers)]
    room = resolved(Room, {f"layer {i}": layer for i, layer in enumerate(layers)})
    assert room.lamps == next((layer["lamps"] for layer in reversed(layers) if "lamps" in layer), 1)


@pytest.mark.parametrize(
    ("layers", "parts"),
    [
        ({"a.toml": {"name": "hall", "lamp": {"wats": 3}}}, ["a.toml", "lamp.wats", "Permitted: watts"]),
        ({"a.toml": {"name": "hall"}, "flags": {"lamps": "x"}}, ["flags", "lamps = 'x'", "integer"]),
        ({"a.toml": {"lamps": 2}}, ["name is missing"]),
        ({"a.toml": {"name": "hall", "lamps": 9}}, ["a.toml: lamps must not outnumber sockets."]),
        ({"a.toml": {"name": "hall", "lamps": 4}, "flags": {"sockets": 2}}, ["must not outnumber"]),
    ],
    ids=["unknown-nested", "type", "missing", "together", "together-across-layers"],
)
def test_a_mistake_is_named(layers, parts):
    with pytest.raises(ConfigError) as caught:
        resolved(Room, layers)
    assert all(part in str(caught.value) for part in parts)


def test_the_environment_and_a_file(tmp_path):
    assert environment_values({"ROOM_LAMPS": "2", "OTHER": "3"}, "ROOM_") == {"lamps": "2"}
    assert toml_values(None) == {}
    (tmp_path / "room.toml").write_text("lamps = ")
    with pytest.raises(ConfigError, match=r"room\.toml is not valid TOML"):
        toml_values(tmp_path / "room.toml")
    with pytest.raises(ConfigError, match="There is no file"):
        toml_values(tmp_path / "none.toml")
