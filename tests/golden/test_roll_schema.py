"""The schema of a roll's document ships beside the code and beside the docs, as the code has it."""

from __future__ import annotations

import json

import pytest

from edge.roll.document import SCHEMA_ID, json_schema

SCHEMA = f"{json.dumps(json_schema(), indent=1, ensure_ascii=False)}\n"


@pytest.mark.parametrize("folder", ["edge/roll", "docs"])
def test_the_schema_that_ships_is_that_of_the_code(stored, folder):
    assert stored.text(f"../../{folder}/roll-report.schema.json", SCHEMA) == SCHEMA


def parts(schema):
    """Yield every field of the schema, with the name of its part."""
    for name, part in {"RollDocument": schema, **schema["$defs"]}.items():
        for key, field in part["properties"].items():
            yield f"{name}.{key}", field


def test_every_field_is_described_and_its_unit_is_said():
    units = {"m": "m", "mm": "mm", "m2": "m²", "px": "px"}
    for name, field in parts(json_schema()):
        described = field.get("description", "") or field.get("$ref", "")
        assert described, name
        unit = units.get(name.rsplit("_", 1)[-1])
        assert unit is None or f"{unit}" in described, name


def test_the_schema_is_versioned_and_permits_no_other_fields():
    schema = json_schema()
    assert schema["$id"] == SCHEMA_ID == schema["properties"]["schema_id"]["const"]
    assert SCHEMA_ID.rsplit(":", 1)[1].count(".") == 1
    assert all(part["additionalProperties"] is False for part in (schema, *schema["$defs"].values()))
