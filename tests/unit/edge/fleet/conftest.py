"""One PostgreSQL for all tests of the office; each test has a database of its own."""

from __future__ import annotations

import itertools

import pytest

from edge.fleet.database import connected
from edge.fleet.migrate import migrate
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, Postgres, empty_tables, office_settings

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    if not HAS_SERVERS:
        pytest.skip(WHY_NOT)
    server = Postgres()
    try:
        server.up()
        yield server
    finally:
        server.remove()


@pytest.fixture
def empty(postgres):
    """Settings with a database without a schema."""
    return office_settings(postgres.database(f"office_{next(_numbers)}"))


@pytest.fixture(scope="session")
def schema(postgres):
    """Settings with a database of today's schema."""
    settings = office_settings(postgres.database("of_today"))
    migrate(settings)
    return settings


@pytest.fixture
def settings(schema):
    """The same without rows."""
    with connected(schema.database) as connection:
        empty_tables(connection)
    return schema
