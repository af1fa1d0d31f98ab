"""Users, rights, certificates and paces of the OPC UA server, without a network."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from cryptography import x509

from edge.config.opcua import OpcuaSettings
from edge.core.errors import ConfigError
from edge.core.settings import resolved
from edge.opcua.certificate import fingerprint_of, open_identity, trusted_certificates
from edge.opcua.pace import MOST_GUESSES, WAIT_S, Guesses, Pace
from edge.opcua.users import new_user, read_users, with_password, write_users

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def test_users_are_written_and_read_for_their_owner_only(tmp_path):
    users = {name: new_user(name, role, PASSWORD) for name, role in (("anna", "change"), ("bob", "read"))}
    write_users(tmp_path / "users", users)
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in (tmp_path / "users").read_text()
    found = read_users(tmp_path / "users")
    assert found == users
    assert with_password(found, "anna", PASSWORD).may_change
    assert not with_password(found, "bob", PASSWORD).may_change


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong"),
        ("anna", ""),
        ("nobody", ""),
        ("carl", PASSWORD),
        ("anna", "x" * 300),
        ("anna", "\udcff"),
    ],
)
def test_nobody_else_comes_in(name, password):
    assert with_password({"anna": new_user("anna", "change", PASSWORD)}, name, password) is None


@pytest.mark.parametrize("name", ["", "a b", "-a", "a\n", "ä", "a" * 65])
def test_names_that_no_user_has(name):
    with pytest.raises(ConfigError, match="cannot be called"):
        new_user(name, "read", PASSWORD)


@pytest.mark.parametrize(
    "line",
    ["anna", "anna read", "anna admin scrypt$AA==$AA==", "anna read scrypt$AA==", "anna read scrypt$!$!",
     "anna read scrypt$AA==$AA==", "anna read md5$AA==$AA=="],
)  # fmt: skip
def test_lines_that_are_no_user(tmp_path, line):
    file = tmp_path / "users"
    file.write_text(f"# who may come in\n\n{line}\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="line 3 is no user"):
        read_users(file)


def test_a_user_stands_there_once(tmp_path):
    file = tmp_path / "users"
    file.write_text(2 * new_user("anna", "read", PASSWORD).line())
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="line 2"):
        read_users(file)


def test_key_and_certificate_are_made_once(tmp_path):
    first = open_identity(tmp_path / "opcua")
    assert open_identity(tmp_path / "opcua") == first
    certificate = x509.load_der_x509_certificate(first.certificate_der)
    assert (certificate.not_valid_after_utc - datetime.now(timezone.utc)).days > 7000
    assert first.application_uri.startswith("urn:")
    assert "PRIVATE" not in repr(certificate)


def test_a_key_that_is_not_that_of_the_certificate(tmp_path):
    open_identity(tmp_path / "a")
    open_identity(tmp_path / "b")
    (tmp_path / "a" / "key.pem").replace(tmp_path / "b" / "key.pem")
    with pytest.raises(ConfigError, match="is not for the key"):
        open_identity(tmp_path / "b")


def test_trusted_certificates_are_those_of_a_folder(tmp_path):
    identity = open_identity(tmp_path / "client")
    folder = tmp_path / "trusted"
    folder.mkdir()
    with pytest.raises(ConfigError, match="holds no certificate"):
        trusted_certificates(folder)
    (folder / "client.der").write_bytes(identity.certificate_der)
    assert trusted_certificates(folder) == {fingerprint_of(identity.certificate_der)}


def test_a_burst_passes_and_what_follows_waits():
    clock = Clock()
    pace = Pace(10, clock)
    assert [pace.wait_s() for _ in range(20)] == [0.0] * 20
    assert pace.wait_s() == pytest.approx(0.1)
    clock.now_s += 0.1  # the wait
    assert pace.wait_s() == pytest.approx(0.1)
    clock.now_s += 1000
    assert [pace.wait_s() for _ in range(21)][-2:] == [0.0, pytest.approx(0.1)]


def test_a_host_that_guesses_waits():
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(MOST_GUESSES):
        assert guesses.may_try("10.0.0.9")
        guesses.wrong("10.0.0.9")
    assert not guesses.may_try("10.0.0.9")
    assert guesses.may_try("10.0.0.8")
    clock.now_s += WAIT_S
    assert guesses.may_try("10.0.0.9")
    guesses.right("10.0.0.9")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"listen": "a:b"}, "HOST"),
        ({"listen": "70000"}, "HOST"),
        ({"policies": []}, "at least 1"),
        ({"policies": ["Basic256"]}, "Basic256Sha256"),
        ({"policies": ["None"], "trusted_only": True}, "exclude each other"),
        ({"most_clients": 0}, "greater than or equal to 1"),
        ({"password": "x"}, "no setting"),
    ],
)
def test_settings_that_are_not_permitted(values, said):
    with pytest.raises(ConfigError, match=said):
        resolved(OpcuaSettings, {"box.toml": values})


def test_security_is_on_unless_it_is_set_otherwise():
    settings = OpcuaSettings()
    assert settings.policies == ("Basic256Sha256", "Aes256Sha256RsaPss")
    assert not settings.anonymous
    assert not settings.machine_stop
    assert settings.listen == "4840"  # of this machine only
