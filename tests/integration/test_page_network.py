"""The live page across a network that breaks, behind a real nginx, and with more viewers than places."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from edge.config.edge import EdgeConfig
from edge.health.state import Health
from edge.page.app import MOST_VIEWERS
from edge.page.live import live_page
from edge.page.server import serve
from edge.pipeline.run_state import RunState
from tests.integration.browsing import START_S, needs_chromium, until
from tests.ports import HeldPort
from tests.unit.edge.page.pages import passed, show
from tests.unit.edge.web.servers import has_ipv6

# A connection that is cut on purpose may leave its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
TOKEN = "a-token-that-is-long"
KEY = {"Authorization": f"Bearer {TOKEN}"}


class Network:
    """Pass connections on to a port until it breaks, and again when it is whole."""

    def __init__(self, port):
        self._port, self._is_whole = port, True
        self._peers = []
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # else the thread waits for ever
        self._listening.close()
        self.break_()

    def break_(self):
        with self._lock:
            self._is_whole = False
            for peer in self._peers:
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
                peer.close()
            self._peers.clear()

    def mend(self):
        self._is_whole = True

    def _accept(self):
        while True:
            try:
                near = self._listening.accept()[0]
            except OSError:
                return
            with self._lock:
                if not self._is_whole:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._peers += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, one, other):
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def page(tmp_path, capsys, host="", **more):
    """Serve the page of a run with a warning that stands; yields (live, port)."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with ExitStack() as stack:
        config = EdgeConfig(page=f"{host}0", page_token_file=file, **more)
        live = live_page(config, None, "loom", Health(60.0))
        serve(config, {}, {None: live}, stack)
        show(live, passed(RunState(), 0))
        standing = replace(live.snapshot, machine_away=True, taken_s=time.monotonic() + 3600)
        live.snapshot = standing
        yield live, urlsplit(capsys.readouterr().err.split()[1]).port


STANDS = "document.querySelector('#troubles').textContent.includes('The machine cannot be stopped')"
AWAY = "!document.querySelector('#away').hidden"


@needs_chromium
@pytest.mark.parametrize("width", [1280, 360])
def test_standing_warnings_come_back_after_a_break_of_the_network(browser, tmp_path, capsys, width):
    with page(tmp_path, capsys) as (_, port):
        network = Network(port)
        tab = browser.new_page(viewport={"width": width, "height": 760})
        tab.set_default_timeout(START_S * 1000)
        tab.goto(f"http://127.0.0.1:{network.port}/")
        until(tab, STANDS)
        for _ in range(2):
            network.break_()
            until(tab, AWAY)
            assert tab.inner_text("#away strong") == "The device does not answer."
            assert tab.inner_text("#troubles") == ""  # what is not known is not shown
            network.mend()
            until(tab, f"!({AWAY}) && {STANDS}")
        tab.close()
        network.close()


@needs_chromium
@pytest.mark.parametrize("width", [1280, 360])
def test_the_seventeenth_viewer_is_told_and_gets_in_when_one_leaves(browser, tmp_path, capsys, width):
    with page(tmp_path, capsys) as (_, port), ExitStack() as others:
        for _ in range(MOST_VIEWERS):
            viewer = others.enter_context(httpx.stream("GET", f"http://127.0.0.1:{port}/events"))
            assert viewer.status_code == 200
        tab = browser.new_page(viewport={"width": width, "height": 760})
        tab.set_default_timeout(START_S * 1000)
        tab.goto(f"http://127.0.0.1:{port}/")
        until(tab, AWAY)
        said = "16 viewers look at this page already. Close one of them."
        assert tab.inner_text("#away strong") == said
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        others.close()
        until(tab, f"!({AWAY}) && {STANDS}")
        tab.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_page_on_ipv6_is_read_by_its_number(tmp_path, capsys):
    with page(tmp_path, capsys, "[::1]:") as (_, port):
        assert httpx.get(f"http://[::1]:{port}/state").status_code == 200
        assert httpx.get(f"http://[::1]:{port}/state", headers={"Host": "evil.example"}).status_code == 400


@contextmanager
def nginx(folder, port, headers):
    """Run nginx before a port, as few lines as a person would write; yields its port."""
    folder.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with HeldPort() as own, ExitStack() as stack:
        (folder / "nginx.conf").write_text(
            f"pid {folder}/pid; error_log {folder}/log; daemon off; events {{}}\n"
            f"http {{ access_log off; {temporary}\n"
            f"server {{ listen 127.0.0.1:{own};\n"
            f"location / {{ proxy_pass http://127.0.0.1:{port}; {headers} }} }} }}\n"
        )
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        try:
            end_s = time.monotonic() + START_S
            while not answers(own):
                assert process.poll() is None, Path(folder / "log").read_text()
                assert time.monotonic() < end_s
                time.sleep(0.05)
            yield own
        finally:
            process.terminate()


@pytest.mark.skipif(not NGINX, reason="no nginx here: `apt-get install nginx`")
@pytest.mark.parametrize(
    ("headers", "names"),
    [
        # The default before 1.29.7: Host: 127.0.0.1, and not a word of itself.
        ("proxy_http_version 1.0;", ()),
        ("proxy_http_version 1.1;", ("loom7.mill.example",)),
        ("proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;", ()),
        ("proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;", ()),
    ],
    ids=["HTTP/1.0", "a name that was set", "X-Real-IP", "X-Forwarded-For"],
)
def test_behind_nginx_nobody_reads_without_the_token_and_streams_flow(tmp_path, capsys, headers, names):
    with page(tmp_path, capsys, page_hosts=names) as (_, port), nginx(tmp_path / "n", port, headers) as own:
        address = f"http://127.0.0.1:{own}"
        for path in ("/state", "/roll", "/cloth.jpg", "/events"):
            assert httpx.get(address + path).status_code == 401
        assert httpx.get(address + "/").status_code == 200
        with httpx.stream("GET", address + "/events", headers=KEY, timeout=START_S) as stream:
            assert stream.status_code == 200
            # nginx would keep states of less than 1 kB until it has six or more, and pass them on together.
            assert next(stream.iter_raw()).count(b"data: ") < 4


def answers(port):
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
