"""Files from a web server and from a folder: limits, redirects, certificates, tokens, what is not there."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge.core.errors import ConfigError, ReleaseError
from edge.web.source import FolderSource, MissingError, Server, WebSource, fetch_to, fetched
from tests.unit.edge.mqtt.broker import OPENSSL, make_certificates


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder; `/away` leads elsewhere, `/cut` ends early, `/secret` wants a token."""

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/a.txt")
            self.end_headers()
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")
        elif self.path == "/secret" and self.headers.get("Authorization") != "Bearer s3cret":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder, context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "www"
    found.mkdir()
    (found / "a.txt").write_bytes(b"abc" * 100)
    (found / "secret").write_bytes(b"token")
    return found


def test_a_file_is_fetched_within_its_limit(folder, tmp_path):
    with serving(folder) as url:
        source = WebSource(Server(url))
        assert fetched(source, "a.txt", 300) == b"abc" * 100
        digest = fetch_to(source, "a.txt", tmp_path / "b" / "a.txt", 300)
        assert (tmp_path / "b" / "a.txt").read_bytes() == b"abc" * 100
        assert len(digest) == 64
        with pytest.raises(ReleaseError, match="has more than 299 bytes"):
            fetched(source, "a.txt", 299)


def test_what_is_not_there_is_told_from_what_cannot_be_fetched(folder):
    with serving(folder) as url:
        source = WebSource(Server(url, timeout_s=5))
        with pytest.raises(MissingError, match="answers 404"):
            fetched(source, "none", 300)
        for name in ("away", "cut"):
            with pytest.raises(ReleaseError) as refused:
                fetched(source, name, 3000)
            assert not isinstance(refused.value, MissingError)
    with pytest.raises(ReleaseError, match="Cannot fetch"):
        fetched(source, "a.txt", 300)  # the server is gone
    with pytest.raises(MissingError):
        fetched(FolderSource(folder), "none", 300)
    with pytest.raises(ReleaseError) as away:
        fetched(FolderSource(folder / "not mounted"), "a.txt", 300)
    assert not isinstance(away.value, MissingError)


def test_a_token_is_sent_and_its_file_is_private(folder, tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o644)
    with serving(folder) as url:
        with pytest.raises(ConfigError, match="token_file"):
            WebSource(Server(url, token_file=file))
        file.chmod(0o600)
        assert fetched(WebSource(Server(url, token_file=file)), "secret", 300) == b"token"
        with pytest.raises(ReleaseError, match="answers 401"):
            fetched(WebSource(Server(url)), "secret", 300)


@pytest.mark.skipif(not OPENSSL, reason="no openssl here: `apt-get install openssl`")
def test_a_server_without_a_known_certificate_is_refused(folder, tmp_path):
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "broker.pem", tmp_path / "broker.key")
    with serving(folder, context) as url:
        known = WebSource(Server(url, ca_file=tmp_path / "ca.pem"))
        assert fetched(known, "a.txt", 300) == b"abc" * 100
        with pytest.raises(ReleaseError, match=r"(?i)certificate"):
            fetched(WebSource(Server(url)), "a.txt", 300)
    with pytest.raises(ConfigError, match="ca_file cannot be used"):
        WebSource(Server(url, ca_file=tmp_path / "none.pem"))
