"""Users of a device: a file that only its owner reads, digests in place of tokens, one role each."""

from __future__ import annotations

import json
import stat
import threading

import pytest

from edge.accounts.guard import CommonToken, DeviceUsers, Person, guard_of
from edge.accounts.permissions import CHANGES, LEAST_ROLE, ROLES, may
from edge.accounts.users import add_user, read_users, remove_user, token_digest
from edge.core.errors import ConfigError, OutputError
from edge.health.state import Health
from edge.page.app import CameraPage
from edge.page.live import LivePage

COMMON = "the-common-token-is-long"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "etc" / "users.json"


def test_a_token_is_in_no_file(file):
    token = add_user(file, "anna", "operator")
    text = file.read_text()
    assert len(token) == 32
    assert token not in text
    assert token_digest(token) in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (user,) = read_users(file).users
    assert (user.name, user.role) == ("anna", "operator")


def test_users_come_and_go(file):
    tokens = {name: add_user(file, name, "operator") for name in ("anna", "Jürgen O'Neill", "w-3.b_1")}
    assert len(set(tokens.values())) == 3
    assert remove_user(file, "anna").name == "anna"
    assert [user.name for user in read_users(file).users] == ["Jürgen O'Neill", "w-3.b_1"]


def test_two_commands_at_once_lose_nobody(file):
    threads = [threading.Thread(target=add_user, args=(file, f"user{n}", "operator")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_users(file).users) == 8


def test_rights_that_somebody_gave_stay(file):
    add_user(file, "anna", "operator")
    file.chmod(0o400)
    add_user(file, "bert", "operator")
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


@pytest.mark.parametrize("name", ["", " anna", "anna ", "an\nna", "a" * 65, "<b>", "a;b", "-", "\udcff"])
def test_what_is_no_name(file, name):
    with pytest.raises(ConfigError, match="is no name of a user"):
        add_user(file, name, "operator")
    assert not file.exists()


def test_a_name_that_is_taken_and_one_that_is_not_there(file):
    add_user(file, "anna", "operator")
    with pytest.raises(ConfigError, match=r"There is a user 'anna' already\. Remove it first"):
        add_user(file, "anna", "engineer")
    with pytest.raises(ConfigError, match=r"There is no user 'bert' in .*\. It has: anna\."):
        remove_user(file, "bert")
    with pytest.raises(
        ConfigError, match=r"There is no file of users .*\. Make it with `loomsight user add"
    ):
        remove_user(file.with_name("other"), "bert")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"users": [{"name": "a"}]}',
        '{"format": 2}',
        '{"people": []}',
        json.dumps({"users": [{"name": "a", "role": "boss", "token_sha256": "0" * 64, "added_utc": ""}]}),
        json.dumps(
            {"users": 2 * [{"name": "a", "role": "operator", "token_sha256": "0" * 64, "added_utc": ""}]}
        ),
    ],
)
def test_what_is_no_file_of_users(file, text):
    file.parent.mkdir()
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"is no file of users .*\. Copy it from a backup"):
        read_users(file)
    with pytest.raises(ConfigError):
        add_user(file, "anna", "operator")
    assert file.read_text() == text


def test_a_file_that_others_may_read(file):
    add_user(file, "anna", "operator")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"Others may read page_users_file .*chmod 600"):
        guard_of(file, COMMON)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        add_user(tmp_path / "file" / "users.json", "anna", "operator")


def test_tokens_and_whose_they_are(file):
    anna, bert = add_user(file, "anna", "operator"), add_user(file, "bert", "engineer")
    guard = guard_of(file, COMMON)
    assert guard.person(anna) == Person("anna", "operator")
    assert guard.person(bert) == Person("bert", "engineer")
    for wrong in ("", anna[:-1], anna + "x", COMMON, "ä", "\udcff"):
        assert guard.person(wrong) is None


def test_a_device_without_users_has_one_token(file):
    assert guard_of(None, COMMON).person(COMMON) == Person(None, "engineer")
    anna = add_user(file, "anna", "operator")
    remove_user(file, "anna")
    guard = guard_of(file, COMMON)
    assert isinstance(guard, DeviceUsers)
    assert not guard.has_users
    assert guard.person(COMMON) == Person(None, "engineer")
    assert guard.person(anna) is None


def test_users_that_change_while_the_page_is_served(file):
    anna = add_user(file, "anna", "operator")
    guard = DeviceUsers(file, CommonToken(COMMON))
    bert = add_user(file, "bert", "operator")
    assert guard.person(bert).name == "bert"
    remove_user(file, "anna")
    assert guard.person(anna) is None


@pytest.mark.parametrize("what", ["deleted", "damaged", "opened to others"])
def test_a_file_that_cannot_be_used_any_more_lets_nobody_in(file, what):
    anna = add_user(file, "anna", "operator")
    guard = DeviceUsers(file, CommonToken(COMMON))
    if what == "deleted":
        file.unlink()
    elif what == "damaged":
        file.write_text("{")
    else:
        file.chmod(0o666)
    for token in (anna, COMMON):
        with pytest.raises(ConfigError):
            guard.person(token)


def test_the_table_of_permissions_has_every_request_that_changes_something():
    from anyio import CapacityLimiter

    live = LivePage("loom", "1", Health(60.0), can_review=True, is_live=True)
    addresses = CameraPage(live, CapacityLimiter(1)).addresses()
    assert {one for one in addresses if not one.startswith("GET ")} == set(LEAST_ROLE) == set(CHANGES)


def test_a_role_may_what_those_below_it_may():
    for address in LEAST_ROLE:
        allowed = [may(role, address) for role in ROLES]
        assert allowed == sorted(allowed)
        assert allowed[-1]
    assert not may("shift-lead", "POST /something-new")
