"""Settings of the office: defaults, file, environment; what is not permitted is named."""

from __future__ import annotations

import pytest

from edge.core.errors import ConfigError
from edge.fleet.settings import database_password, load_office


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "office.toml"
    file.write_text('batch_rows = 7\ntime_zone = "Europe/Berlin"\n[mqtt]\nbroker = "mqtt://h"\n')
    environment = {"LOOMSIGHT_OFFICE_BATCH_ROWS": "9", "LOOMSIGHT_OFFICE_SHIFTS": '{"day": "06:00"}'}
    settings = load_office(file, environment)
    assert (settings.batch_rows, settings.time_zone, settings.retention_days) == (9, "Europe/Berlin", 400)
    assert settings.shifts == {"day": "06:00"}
    assert settings.mqtt.address == ("h", 1883)
    assert load_office(None, {}).mqtt.client_id == "loomsight-office"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NONSENSE": "1"}, "there is no setting 'nonsense'"),
        ({"BATCH_ROWS": "0"}, "batch_rows"),
        ({"RETENTION_DAYS": "soon"}, "retention_days"),
        ({"SHIFTS": "{"}, "shifts"),
        ({"SHIFTS": '{"a": "06:00", "b": "06:00"}'}, "same time"),
        ({"SHIFTS": "{}"}, "shifts"),
        ({"DATABASE": '{"url": "postgresql://u@h:x/d"}'}, "database.url"),
        ({"MQTT": '{"broker": "h"}'}, "mqtt.broker"),
    ],
)
def test_what_is_not_permitted_is_named(environment, words):
    with pytest.raises(ConfigError) as error:
        load_office(None, {f"LOOMSIGHT_OFFICE_{name}": text for name, text in environment.items()})
    assert "the environment" in str(error.value)
    assert words in str(error.value)


def test_a_password_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "password"
    file.write_text("secret\nmore\n")
    settings = load_office(None, {"LOOMSIGHT_OFFICE_DATABASE": f'{{"password_file": "{file}"}}'}).database
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"database\.password_file"):
        database_password(settings)
    file.chmod(0o600)
    assert database_password(settings) == "secret"
