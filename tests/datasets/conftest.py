"""Small archives of Omniglot, a server of them on loopback, and the real data where it is."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from fake_omniglot import make_characters, md5_of, write_zip

from sklearn_meta.datasets import _omniglot

BACKGROUND = [(1, "Greek", 1), (2, "Greek", 2), (3, "Armenian", 1)]
EVALUATION = [(4, "Gurmukhi", 41), (5, "Gurmukhi", 42), (6, "Angelic", 1)]


@pytest.fixture(autouse=True)
def _global_generator_is_left_alone():
    before = np.random.get_state()  # noqa: NPY002
    yield
    after = np.random.get_state()  # noqa: NPY002
    assert before[2:] == after[2:]
    np.testing.assert_array_equal(before[1], after[1])


@pytest.fixture
def server():
    """A server of `server.files`, {"/name": bytes or (status, bytes, declared length)}."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            httpd.requests.append(self.path)
            answer = httpd.files.get(self.path, (404, b"", 0))
            status, body, length = (
                (200, answer, len(answer)) if isinstance(answer, bytes) else answer
            )
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.requests = {}, []
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}/"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def real_omniglot():
    """The folder of the real data, or a skip."""
    home = os.environ.get("SKLEARN_META_DATA")
    if not home:
        pytest.skip("SKLEARN_META_DATA is not set: no real Omniglot to test with")
    folder = Path(home) / "omniglot"
    if not (folder / "omniglot_28.npz").exists():
        pytest.skip(f"no prepared Omniglot in {folder}")
    return folder


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Two small archives in the format of the official ones, and what is drawn in them."""
    folder, ink = tmp_path_factory.mktemp("archives"), {}
    for name, characters in [("background", BACKGROUND), ("evaluation", EVALUATION)]:
        entries, drawn = make_characters(characters, seed=len(ink))
        write_zip(folder / f"images_{name}.zip", entries)
        ink |= drawn
    return folder, np.array([ink[number] for number in range(1, 7)])


@pytest.fixture
def official(archives, server, monkeypatch):
    """Make the small archives the official ones, served on loopback."""
    folder, _ = archives
    for name in ("BACKGROUND", "EVALUATION"):
        path = folder / f"images_{name.lower()}.zip"
        monkeypatch.setattr(
            _omniglot, name, _omniglot.Archive(path.name, md5_of(path), n_characters=3)
        )
        server.files["/" + path.name] = path.read_bytes()
    monkeypatch.setattr(_omniglot, "URL", server.url)
    return server
