"""Which names and addresses a host can have; those that it cannot have are refused with the reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.machine import MachineSettings
from edge.core.address import checked_host

POSSIBLE = [
    "10.0.0.5", "127.0.0.1", "localhost", "plc", "plc-1", "PLC.mill.lan", "mill.lan.", "1plc.lan",
    "::1", "fe80::1%eth0", "2001:db8::5", "mühle.lan", "xn--mhle-0ra.lan", "a" * 63 + ".lan",
]  # fmt: skip

IMPOSSIBLE = {
    "": "it is empty",
    "  ": "it is empty",
    "10.0.0..5": "is missing",
    "mill..lan": "is missing",
    ".lan": "is missing",
    ".": "is missing",
    "http://10.0.0.5": "leave out http://",
    "mqtt://mill.lan": "leave out mqtt://",
    "10.0.0.5:502": "leave out the port",
    "plc:502": "leave out the port",
    "plc:": "leave out the port",
    "[::1]": "leave out the brackets",
    "[::1]:502": "leave out the brackets",
    "fe80:::1": "no IPv6 address",
    "10.0.0.256": "no IPv4 address",
    "10.0.0": "no IPv4 address",
    "10.0.0.05": "no IPv4 address",
    "0x7f000001": "no IPv4 address",
    "plc_1": "'plc_1' is not of letters, digits and hyphens",
    "-plc.lan": "'-plc' is not of letters",
    "plc-.lan": "'plc-' is not of letters",
    "plc lan": "space or a control character",
    " plc": "space or a control character",
    "plc\n": "space or a control character",
    "plc\x00": "space or a control character",
    "user@plc": "without user and path",
    "plc/coils": "without user and path",
    "0.0.0.0": "no address of one host",
    "::": "no address of one host",
    "224.0.0.1": "no address of one host",
    "255.255.255.255": "no address of one host",
    "a" * 64 + ".lan": "too long",
    ".".join(["a" * 63] * 4): "too long",
    "mill\ud800": "no host name has",
}


@pytest.mark.parametrize("host", POSSIBLE)
def test_a_possible_host_is_taken_as_it_is(host):
    assert checked_host(host) == host
    assert MachineSettings(kind="modbus", coil=3, host=host).host == host


@pytest.mark.parametrize(("host", "reason"), IMPOSSIBLE.items(), ids=[repr(one)[:30] for one in IMPOSSIBLE])
def test_an_impossible_host_is_refused_with_the_reason(host, reason):
    with pytest.raises(ValueError, match="cannot be a host") as raised:
        checked_host(host)
    assert reason in str(raised.value)
    with pytest.raises(ValueError, match=r"cannot be a host|codec can't encode"):  # TOML has no surrogates
        MachineSettings(kind="modbus", coil=3, host=host)


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9.:_-]{1,40}", fullmatch=True))
def test_what_is_taken_can_be_asked_for_and_nothing_but_a_refusal_is_raised(text):
    with suppress(ValueError):
        host = checked_host(text)
        try:
            host.encode("idna")  # as `socket` does before it asks anybody
        except UnicodeError:
            pytest.fail(f"{host!r} was taken, and cannot be looked up")
