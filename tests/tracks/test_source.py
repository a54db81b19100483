"""Remote files on loopback servers, some of which misbehave."""

import contextlib
import http.server
import itertools
import re
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.errors import TrackError
from epixs.genome.regions import Piece
from epixs.storage import location
from epixs.storage.location import is_url
from epixs.tracks import Track, remote
from epixs.tracks.remote import COALESCE_BYTES, RemoteFile, coalesce
from epixs.tracks.source import LocalFile, open_source, source_state
from tests.bigwigs import write_intervals

obstore = pytest.importorskip("obstore")


class Handler(http.server.BaseHTTPRequestHandler):
    """A server of ranges of `files`; `mode` says how it misbehaves, every other time or always."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers["Range"]))
        odd = len(server.asked) % 2 == 1
        data = server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        if odd and server.mode in (429, 503):
            self.reply(server.mode, b"")
        elif server.mode == "stall" or (odd and server.mode == "stall once"):
            server.let_go.wait(20)
            self.close_connection = True
        elif odd and server.mode == "reset":
            self.close_connection = True
        elif server.mode == "whole":
            self.reply(200, data)
        elif server.mode == "html":
            self.reply(200, b"<html>log in first</html>")
        else:
            low, high = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
            body = data[low : high + 1]
            shift = server.mode == "wrong range"
            span = f"bytes {low + shift}-{low + len(body) - 1 + shift}/{len(data)}"
            self.reply(206, body, span, cut=odd and server.mode == "short")

    def reply(self, code, body, span=None, cut=False):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if span:
            self.send_header("Content-Range", span)
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


@pytest.fixture
def server(monkeypatch):
    for name, value in (
        ("RETRIES", 3),
        ("REQUEST_SECONDS", 3.0),
        ("CONNECT_SECONDS", 2.0),
        ("RETRY_SECONDS", 9.0),
    ):
        monkeypatch.setattr(location if hasattr(location, name) else remote, name, value)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.let_go = threading.Event()
    server.files, server.mode, server.etag, server.asked = {}, "good", '"one"', []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Write a bigWig of some megabytes; returns it and its values."""
    rng = np.random.default_rng(0)
    steps = [("chr1", 25 * i, 25 * i + 20, float(rng.random() * 9)) for i in range(400_000)]
    path = tmp_path_factory.mktemp("genome") / "genome.bw"
    return write_intervals(path, steps, {"chr1": 10_000_010, "chr2": 5_000})


PIECES = [Piece("chr1", 1_000_000, 1_020_000, 0), Piece("chr1", 7_000_000, 7_020_000, 800)]


def read(path):
    with Track(path) as track:
        track.prefetch(PIECES)
        return np.concatenate([track.read(piece).sums for piece in PIECES])


@pytest.mark.parametrize("mode", ["good", 429, 503, "short", "reset"])
def test_a_remote_track_reads_like_the_file(server, genome, mode):
    server.files["/a%20b.bw?token=1&x=2"] = genome.read_bytes()
    server.mode = mode
    assert np.array_equal(read(f"{server.url}/a b.bw?token=1&x=2"), read(genome))


@pytest.mark.slow
def test_a_server_that_stalls_is_asked_again_and_given_up_in_time(server, genome, monkeypatch):
    monkeypatch.setattr(location, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(location, "RETRY_SECONDS", 3.0)
    server.files["/a.bw"] = genome.read_bytes()
    server.mode = "stall once"
    assert np.array_equal(read(f"{server.url}/a.bw"), read(genome))
    server.mode = "stall"
    with pytest.raises(TrackError, match=r"a\.bw cannot be read; got GenericError.*timed out|timeout"):
        read(f"{server.url}/a.bw")


def test_little_more_than_the_blocks_under_the_regions_travels(server, genome):
    server.files["/a.bw"] = genome.read_bytes()
    with Track(f"{server.url}/a.bw") as track:
        track.prefetch(PIECES)
        track.read(PIECES[0])
        asked = len(server.asked)
        for piece in PIECES:
            track.read(piece)
        moved = track._bigwig._source.bytes_moved
    assert len(server.asked) == asked  # all blocks had been fetched together
    assert moved < 0.12 * genome.stat().st_size, moved / genome.stat().st_size
    assert asked < 8


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("whole", "cannot be read; got NotSupportedError"),
        ("html", "cannot be read; got NotSupportedError"),
        ("wrong range", "cannot be read; got GenericError"),
    ],
)
def test_servers_that_misbehave_are_refused(server, genome, mode, message):
    server.files["/a.bw"] = genome.read_bytes()
    server.mode = mode
    with pytest.raises(TrackError, match=message):
        read(f"{server.url}/a.bw")


def test_a_file_that_is_not_there(server):
    with pytest.raises(TrackError, match=r"nothing\.bw cannot be read; got .*404"):
        read(f"{server.url}/nothing.bw")
    assert source_state(f"{server.url}/nothing.bw")[1:] == [-1, -1]


def test_a_file_that_is_replaced_while_it_is_read(server, genome):
    server.files["/a.bw"] = genome.read_bytes()
    with Track(f"{server.url}/a.bw") as track:
        server.etag = '"two"'
        with pytest.raises(
            TrackError, match='changed while it was read; got .*version "two"; expected .*"one"'
        ):
            track.read(PIECES[1])
        state = track._bigwig.state()
    assert state[1:] == [genome.stat().st_size, '"one"']
    assert source_state(f"{server.url}/a.bw")[1:] == [genome.stat().st_size, '"two"']


def test_a_remote_page_that_is_no_bigwig(server):
    server.files["/a.bw"] = b"<html>not found</html>"
    with pytest.raises(TrackError, match="is an HTML or XML page"):
        Track(f"{server.url}/a.bw")


def test_no_more_is_kept_than_memory_allows(server, genome, monkeypatch):
    """Blocks are fetched ahead in windows; each window is freed before the next one is fetched."""
    window = 1 << 13
    monkeypatch.setattr(remote, "WINDOW_BYTES", window)
    monkeypatch.setattr(remote, "MAX_KEPT_BYTES", 16 * window)
    monkeypatch.setattr(remote, "MAX_REQUEST_BYTES", window)
    server.files["/a.bw"] = genome.read_bytes()
    kept = []
    original = remote.RemoteFile._keep

    def keep(self, *args):
        original(self, *args)
        kept.append(sum(map(len, self._parts.values())))
        assert kept[-1] == self._kept_bytes

    with Track(f"{server.url}/a.bw") as track, Track(genome) as there:
        monkeypatch.setattr(remote.RemoteFile, "_keep", keep)
        track.prefetch(PIECES)
        for piece in PIECES:
            assert np.array_equal(track.read(piece).sums, there.read(piece).sums)
    assert len(kept) > 4
    assert max(kept) < 16 * window < genome.stat().st_size


def test_what_is_kept_open_lets_go_of_what_it_fetched(server, genome):
    server.files["/a.bw"] = genome.read_bytes()
    with Track(f"{server.url}/a.bw") as track:
        track.prefetch(PIECES)
        first = [track.read(piece).sums for piece in PIECES]
        track.release()
        assert track._bigwig._source._kept_bytes == 0
        track.prefetch(PIECES)
        for piece, sums in zip(PIECES, first, strict=True):
            assert np.array_equal(track.read(piece).sums, sums)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@host/a.bw", "https://host/a.bw"),
        ("https://host/a.bw?sig=secret&x=1", "https://host/a.bw?..."),
        (
            'error for url (http://u:secret@h/a?t=secret) at "s3://b/k?secret"',
            'error for url (http://h/a?...) at "s3://b/k?..."',
        ),
        ("s3://bucket/a.bw", "s3://bucket/a.bw"),
        ("a question? no url", "a question? no url"),
    ],
)
def test_what_messages_show_of_urls(text, expected):
    assert location.shown(text) == expected


def test_secrets_of_a_url_are_in_no_message(server):
    url = f"{server.url}/nothing.bw?signature=secret".replace("://", "://user:secret@")
    with pytest.raises(TrackError, match=r"/nothing\.bw\?\.\.\. cannot be read") as caught:
        Track(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://h/a.bw", "zip://a", "s3://"])
def test_schemes_that_cannot_be_read(url):
    with pytest.raises(TrackError, match="cannot be read"):
        open_source(url)


def test_local_files_keep_their_state_when_another_takes_their_name(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    file = LocalFile(path)
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "b").rename(path)
    assert file.read(1, 3) == b"234"
    assert file.state()[1] == 5
    assert source_state(str(path))[1] == 1
    file.close()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)).map(lambda p: (p[0], p[0] + p[1]))))
def test_coalescing_covers_every_range_once(ranges):
    joined = coalesce(ranges)
    for low, high in ranges:
        assert low == high or any(a <= low and high <= b for a, b in joined)
    assert all(
        b[0] - a[1] > COALESCE_BYTES or b[1] - a[0] > remote.MAX_REQUEST_BYTES
        for a, b in itertools.pairwise(joined)
    )


def test_urls():
    assert is_url("https://a/b")
    assert is_url("s3://a/b")
    assert not is_url("/a/b")
    assert not is_url("a:b")


def test_s3(genome, s3):
    from obstore.store import S3Store

    obstore.put(S3Store("tracks", client_options={"allow_http": True}), "d/a.bw", genome.read_bytes())
    assert np.array_equal(read("s3://tracks/d/a.bw"), read(genome))
    assert source_state("s3://tracks/d/a.bw")[1] == genome.stat().st_size
    with pytest.raises(TrackError, match="cannot be read"):
        RemoteFile("s3://tracks/none.bw")


@pytest.mark.parametrize("path", ["http://[bad/x.bigWig", "a\0b.bigWig"])
def test_names_that_cannot_be(path):
    assert source_state(path) == [path, -1, -1]
