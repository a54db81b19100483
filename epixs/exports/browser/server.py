"""Serve the page: on this machine only unless told otherwise, and only to requests with its token.

Another site's page can make a browser send requests to `127.0.0.1`, and can make its own host name lead there
(DNS rebinding). So a request needs three things: the token (from the URL that is printed, then from a cookie
that other sites cannot send), this host as its `Host`, and, if it names its origin, the origin of this page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib.util
import ipaddress
import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tornado.httpserver
import tornado.web

from epixs.errors import ConfigError, EpixsError, RegionError
from epixs.exports.browser.genes import Genes
from epixs.exports.browser.views import WINDOW_FUNCTIONS, Track, catalogue, genomes_of
from epixs.exports.source import LINES

STATIC = Path(__file__).with_name("static")

FILES = {"page.js": "text/javascript", "page.css": "text/css", "igv.min.js": "text/javascript"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "epixs",
}

MOST_SIGNS = 200
"""Maximum number of characters of an argument."""

THREADS = 4


@dataclass(frozen=True, eq=False)
class Session:
    """The tracks that a server shows, and the token that gives access.

    Parameters
    ----------
    tracks
        The tracks. A page refers to each by its number.
    token
        The token that a request needs.
    genes
        Genes to find and draw, if any.
    locus, chosen
        Locus at which the page opens, if one was given, and the number of the track that it shows first.
    """

    tracks: Sequence[Track]
    token: str
    genes: Genes | None = None
    locus: str | None = None
    chosen: int = 0
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))


def igv_script() -> Path:
    """Find the script of igv.js in the installed package igv-notebook, without importing the package.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    spec = importlib.util.find_spec("igv_notebook")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        script = Path(folder) / "js" / "igv.min.js"
        if script.is_file():
            return script
    raise ConfigError(
        "the browser page needs igv.js",
        got="igv-notebook is not installed",
        next_step="install it with `pip install igv-notebook`, or epixs with its extra `browse`",
    )


class _Handler(tornado.web.RequestHandler):
    """Base of all handlers: checks who may ask, and keeps error messages short."""

    def initialize(self, session: Session, host: str, port: int) -> None:
        self.session, self._host, self._port = session, host, port

    @property
    def _cookie(self) -> str:
        return f"epixs-{self._port}"

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse requests that are not from this page, or lack the token."""
        if not is_this_host(self.request.headers.get("Host", ""), self._host, self._port):
            raise tornado.web.HTTPError(403, reason="another host")
        origin = self.request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.request.headers.get("Host"):
            raise tornado.web.HTTPError(403, reason="another origin")
        if self.request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise tornado.web.HTTPError(403, reason="another site")
        given = self.get_query_argument("token", None) or self.get_cookie(self._cookie) or ""
        if not hmac.compare_digest(given.encode(), self.session.token.encode()):
            raise tornado.web.HTTPError(403, reason="without the token of the URL that was printed")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Send a short error message without details."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")

    def argument(self, name: str, pattern: str) -> str:
        """Return one argument of the query, which must match a pattern."""
        values = self.get_query_arguments(name, strip=False)
        if len(values) != 1 or len(values[0]) > MOST_SIGNS or re.fullmatch(pattern, values[0]) is None:
            raise tornado.web.HTTPError(400, reason=f"argument {name}")
        return values[0]

    def number(self, name: str, below: int) -> int:
        """Return one argument that is a whole number less than `below`."""
        value = int(self.argument(name, r"[0-9]{1,10}"))
        if value >= below:
            raise tornado.web.HTTPError(404, reason=f"no such {name}")
        return value

    def answer(self, content: Any) -> None:
        """Send JSON."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(content, allow_nan=False))


class _Page(_Handler):
    def get(self) -> None:
        self.set_cookie(self._cookie, self.session.token, httponly=True, samesite="Strict", path="/")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((STATIC / "page.html").read_bytes())


class _File(_Handler):
    def get(self, name: str) -> None:
        path = igv_script() if name == "igv.min.js" else STATIC / name
        self.set_header("Content-Type", f"{FILES[name]}; charset=utf-8")
        self.finish(path.read_bytes())


class _Catalogue(_Handler):
    def get(self) -> None:
        session = self.session
        self.answer(
            {"species": catalogue(session.tracks), "genes": session.genes is not None,
             "locus": session.locus, "chosen": session.chosen}
        )  # fmt: skip


class _Sizes(_Handler):
    """Sends the chromosome sizes of a genome, as igv.js reads them."""

    def get(self) -> None:
        genomes = genomes_of(self.session.tracks)
        sizes = genomes[self.number("genome", len(genomes))]
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("".join(f"{chrom}\t{size}\n" for chrom, size in sizes.items()))


class _Data(_Handler):
    """Sends the values of a track in a stretch, computed on another thread."""

    async def get(self) -> None:
        tracks = self.session.tracks
        track = tracks[self.number("track", len(tracks))]
        chrom = self.argument("chrom", r"[^\x00-\x1f]+")
        length = track.assembly.chrom_sizes.get(chrom, 0)
        start, end = (min(length, self.number(name, 1 << 40)) for name in ("start", "end"))
        pixel = float(self.argument("bases_per_pixel", r"[0-9]{1,10}(\.[0-9]{1,20})?"))
        how = self.argument("how", "|".join(WINDOW_FUNCTIONS))
        line = self.argument("line", "|".join(LINES))
        if line != "signal" and not track.source.has_spread:
            raise tornado.web.HTTPError(404, reason="no interval")
        if start >= end:
            self.answer({"start": [], "end": [], "value": []})
            return
        loop = asyncio.get_running_loop()
        try:
            view = await loop.run_in_executor(
                self.session.threads, track.view, chrom, start, end, pixel, how, line
            )
        except RegionError as error:
            raise tornado.web.HTTPError(413, reason="too wide a view for a model") from error
        except EpixsError as error:
            raise tornado.web.HTTPError(500, reason="the signal cannot be read: `epixs verify`") from error
        self.answer({name: getattr(view, name).tolist() for name in ("start", "end", "value")})


class _Genes(_Handler):
    def get(self) -> None:
        chrom = self.argument("chrom", r"[^\x00-\x1f]+")
        start, end = (self.number(name, 1 << 40) for name in ("start", "end"))
        genes = self.session.genes
        self.answer([vars(gene) for gene in genes.within(chrom, start, end)] if genes else [])


class _Search(_Handler):
    """Sends the coordinates of a gene, as igv.js asks for them."""

    def get(self) -> None:
        name = self.argument("q", r"[^\x00-\x1f]+")
        gene = self.session.genes.named(name) if self.session.genes else None
        place = (
            {"chromosome": gene.chrom, "start": gene.start, "end": gene.end, "gene": gene.name}
            if gene
            else None
        )
        self.answer([place] if place else [])


class _Nothing(_Handler):
    def get(self) -> None:
        raise tornado.web.HTTPError(404)


class _Application(tornado.web.Application):
    def log_request(self, handler: tornado.web.RequestHandler) -> None:
        """Keep URLs, which hold the token, out of logs."""


def is_this_host(host: str, bound: str, port: int) -> bool:
    """Whether a request's `Host` is this server, and not another name that was made to lead here."""
    try:
        parts = urlsplit(f"//{host}")
        name, its_port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if its_port != port:
        return False
    if name in ("localhost", bound):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return not _is_loopback(bound) and name == socket.gethostname().lower()
    return address.is_loopback or not _is_loopback(bound)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def serving(session: Session, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a session from its own thread, and yield the URL to open.

    Raises
    ------
    ConfigError
        If the address is in use or not available.
    """
    igv_script()
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the page cannot be served on {host}, port {port}",
            got=str(error),
            next_step="name another --port",
        ) from error
    listening.setblocking(False)
    port = listening.getsockname()[1]
    common = {"session": session, "host": host, "port": port}
    application = _Application(
        [
            (r"/", _Page, common),
            (rf"/({'|'.join(map(re.escape, FILES))})", _File, common),
            (r"/catalogue", _Catalogue, common),
            (r"/sizes", _Sizes, common),
            (r"/data", _Data, common),
            (r"/genes", _Genes, common),
            (r"/search", _Search, common),
            (r".*", _Nothing, common),
        ],
        compress_response=True,
    )
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        server = tornado.httpserver.HTTPServer(application, max_buffer_size=1 << 20)
        server.add_socket(listening)
        started.set()
        try:
            await asyncio.Event().wait()  # until it is cancelled
        finally:
            server.stop()
            await server.close_all_connections()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(served)
        loop.close()

    served = loop.create_task(serve())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    known_as = socket.gethostname().lower() if host in ("0.0.0.0", "::") else host
    url_host = f"[{known_as}]" if ":" in known_as else known_as
    try:
        yield f"http://{url_host}:{port}/?token={session.token}"
    finally:
        loop.call_soon_threadsafe(served.cancel)
        thread.join()
        session.threads.shutdown(cancel_futures=True)
