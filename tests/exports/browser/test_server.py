import http.client
import json
import socket
import threading
from urllib.parse import quote, urlsplit

import pytest

import epixs
from epixs.errors import ConfigError, RegionError
from epixs.exports.browser import server
from epixs.exports.browser.browse import browse, make_session
from epixs.exports.browser.server import HEADERS, igv_script, is_this_host, serving
from tests.patience import PATIENCE

pytest.importorskip("igv_notebook", reason="igv-notebook (the `browse` extra) is not installed")


@pytest.fixture(scope="module")
def url(world):
    with serving(make_session(world.store("mouse"))) as address:
        yield address


def ask(url, path, *, token=True, headers=None, method="GET"):
    """Status, headers and body of one request."""
    parts = urlsplit(url)
    if token:
        path += f"{'&' if '?' in path else '?'}{parts.query}"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


DATA = "/data?track=0&chrom=chr19&start=10000000&end=10001000&bases_per_pixel=1.5&how=mean&line=signal"


def test_data_are_what_the_store_holds(url, world):
    status, _, body = ask(url, DATA)
    assert status == 200
    found = json.loads(body)
    here = epixs.open_compendium(world.store("mouse")).epixs.sel("chr19:10,000,000-10,001,000")
    assert found["start"] == here["bin_start"].to_numpy().tolist()
    assert found["value"] == pytest.approx(here.signal[0].to_numpy().tolist(), abs=1e-6)


def test_an_end_of_no_interval_is_not_found(url):
    assert ask(url, DATA.replace("line=signal", "line=upper"))[0] == 404


def test_the_page_sets_a_cookie_that_serves_from_then_on(url):
    status, headers, body = ask(url, "/")
    assert status == 200
    assert '<script src="page.js">' in body
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    pair = cookie.split(";")[0]
    assert ask(url, "/catalogue", token=False, headers={"Cookie": pair})[0] == 200
    assert ask(url, "/catalogue", token=False, headers={"Cookie": f"{pair}x"})[0] == 403


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/igv.min.js", "/catalogue", "/sizes?genome=0", DATA, "/nothing"]
)
def test_nothing_without_the_token(url, path):
    status, headers, body = ask(url, path, token=False)
    assert status == 403
    assert "Set-Cookie" not in headers
    assert urlsplit(url).query.partition("=")[2] not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "8.8.8.8:{port}", "[", ""]
)
def test_names_made_to_lead_here_are_refused(url, host):
    port = urlsplit(url).port
    assert ask(url, "/catalogue", headers={"Host": host.format(port=port)})[0] in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(url, headers):
    assert ask(url, "/catalogue", headers=headers)[0] == 403


def test_every_answer_has_headers_that_keep_it_to_itself(url):
    for path, token in (("/", True), ("/catalogue", True), ("/nothing", True), ("/", False)):
        headers = ask(url, path, token=token)[1]
        for name, value in HEADERS.items():
            assert headers[name] == value
        assert "Access-Control-Allow-Origin" not in headers


HOSTILE = [
    "",
    "-1",
    "1e9",
    "99999999999",
    "0x1",
    "1;ls",
    "\0",
    "../../etc/passwd",
    "<script>",
    "9" * 5000,
    "1&track=2",
]


@pytest.mark.parametrize("name", ["track", "chrom", "start", "end", "bases_per_pixel", "how", "line"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_arguments_are_refused_or_find_nothing(url, name, value):
    asked = {
        "track": "0",
        "chrom": "chr19",
        "start": "10000000",
        "end": "10001000",
        "bases_per_pixel": "1",
        "how": "mean",
        "line": "signal",
    }
    asked[name] = value
    query = "&".join(f"{key}={quote(one, safe='&' if one == value else '')}" for key, one in asked.items())
    status, headers, body = ask(url, f"/data?{query}")
    assert status in (200, 400, 404, 413)
    if status == 200:
        assert set(json.loads(body)) == {"start", "end", "value"}
    else:
        assert headers["Content-Type"].startswith("text/plain")
        assert "Traceback" not in body
        assert "script" not in body
    if name == "track" and value != "1&track=2":
        assert status in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/static/../server.py",
        "/page.html",
        "/.",
        "//etc/passwd",
        "/igv.min.js/../x",
    ],
)
def test_no_other_file_is_given(url, path):
    assert ask(url, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading(url, method):
    assert ask(url, "/catalogue", method=method)[0] in (403, 405)


def test_genes_are_found_by_name(world, tmp_path):
    bed = tmp_path / "g.bed"
    bed.write_text("chr19\t10000000\t10002000\tMyc\t0\t+\n")
    with serving(make_session(world.store("mouse"), genes=bed)) as url:
        assert json.loads(ask(url, "/search?q=MYC")[2]) == [
            {"chromosome": "chr19", "start": 10000000, "end": 10002000, "gene": "Myc"}
        ]
        assert json.loads(ask(url, "/search?q=nothing")[2]) == []
        assert [
            gene["name"] for gene in json.loads(ask(url, "/genes?chrom=chr19&start=0&end=99999999")[2])
        ] == ["Myc"]


def test_without_genes_nothing_is_found(url):
    assert json.loads(ask(url, "/search?q=Myc")[2]) == []
    assert json.loads(ask(url, "/genes?chrom=chr19&start=0&end=99999999")[2]) == []


def test_hosts():
    for host in ("127.0.0.1:5", "localhost:5", "LOCALHOST:5", "[::1]:5", "127.9.9.9:5"):
        assert is_this_host(host, "127.0.0.1", 5), host
    for host in (
        "127.0.0.1",
        "x:5",
        "localhost.evil:5",
        "1.2.3.4:5",
        "localhost:6",
        "a@b:5:5",
        "[::1:5",
        socket.gethostname() + ":5",
    ):
        assert not is_this_host(host, "127.0.0.1", 5) or host.startswith("localhost:5"), host
    assert is_this_host("1.2.3.4:5", "0.0.0.0", 5)
    assert is_this_host(f"{socket.gethostname()}:5", "0.0.0.0", 5)
    assert not is_this_host("evil.example:5", "0.0.0.0", 5)


def test_a_taken_port_is_named(world):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"port {port}"),
            serving(make_session(world.store("mouse")), port=port),
        ):
            pass


def test_without_igv_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install igv-notebook"):
        igv_script()


def test_browse_serves_until_it_is_told_to_stop(world):
    urls, until = [], threading.Event()

    def ready(url):
        urls.append((url, ask(url, "/catalogue")[0]))
        until.set()

    browse(world.store("mouse"), locus="chr19:10,000,000-10,010,000", ready=ready, until=until)
    assert urls[0][1] == 200
    with pytest.raises(OSError, match="refused"):
        ask(urls[0][0], "/")


def test_a_locus_elsewhere_is_refused(world):
    with pytest.raises(RegionError, match="--locus"):
        make_session(world.store("mouse"), locus="chr99:1-2")
