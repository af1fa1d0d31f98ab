"""A real mosquitto over TLS with a password, that can be killed and revived; and a subscriber."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.ports import HeldPort

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
WHY_NOT = "no mosquitto with openssl here: `apt-get install mosquitto openssl`"
USER, PASSWORD = "box1", "s3cret-of-the-mill"


def make_certificates(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> None:
    """Write ca.pem, and broker.pem with broker.key, signed by it for localhost; 0 days expire at once."""

    def openssl(*arguments):
        subprocess.run([OPENSSL, *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=mill",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", *curve[:-2], "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=localhost")
    (folder / "ext").write_text(f"subjectAltName={names}\n")
    openssl("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "broker.pem", "-days", str(days), "-extfile", "ext")  # fmt: skip


class Broker:
    """Run mosquitto on a free port; what it holds survives its death."""

    def __init__(self, folder: Path, settings: str = "", **certificate: object) -> None:
        self.folder = folder
        self._held = HeldPort(), HeldPort()
        self.port, self.plain_port = (held.number for held in self._held)
        make_certificates(folder, **certificate)
        passwords = folder / "passwords"
        tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
        subprocess.run([tool, "-b", "-c", passwords, USER, PASSWORD], check=True, capture_output=True)
        for path in folder.iterdir():
            path.chmod(0o644)
        user = "root" if os.getuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\n"
            f"keyfile {folder}/broker.key\npassword_file {passwords}\nallow_anonymous false\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            f"set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            + (f"user {user}\n" if user else "")
            + settings
            + f"listener {self.plain_port} 127.0.0.1\n"
        )
        self._process = None

    @property
    def url(self):
        return f"mqtts://localhost:{self.port}"

    @property
    def plain_url(self):
        """Without TLS, where mosquitto 2.0.11 does not cut a connection whose message it refuses."""
        return f"mqtt://localhost:{self.plain_port}"

    def up(self):
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self.folder / "mosquitto.conf"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def reload(self):
        """Let it read its access list again."""
        self._process.send_signal(signal.SIGHUP)

    def save(self):
        """Let it write who subscribed, before it is killed."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(1)

    def down(self, how=signal.SIGKILL):
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None


class Subscriber:
    """Keep what arrives below a prefix: (topic, message)."""

    def __init__(self, broker: Broker, prefix: str, lasting: str = "") -> None:
        self.got = []
        self._client = Client(CallbackAPIVersion.VERSION2, lasting, clean_session=not lasting)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.tls_set(str(broker.folder / "ca.pem"))
        self._client.on_message = lambda _, __, message: self.got.append(
            (message.topic.removeprefix(f"{prefix}/"), json.loads(message.payload))
        )
        self._client.on_connect = lambda client, *_: client.subscribe(f"{prefix}/#", qos=1)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, *topics):
        return [message for topic, message in list(self.got) if topic in topics]
