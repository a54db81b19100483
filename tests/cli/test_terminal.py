import errno
import re

import pytest
import typer
from typer.testing import CliRunner

from epixs.cli import terminal
from epixs.cli.app import VERBS
from epixs.cli.terminal import RESUMING, Verbs, bytes_text, fail_rows, on_interrupt, table_of
from epixs.cluster.tasks import Progress
from epixs.errors import EpixsError, StoreError, counted


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (1_550_000, "1.6 MB"),
        (2e9, "2.0 GB"),
        (7e15, "7.0 PB"),
    ],
)
def test_bytes_as_people_read_them(n_bytes, text):
    assert bytes_text(n_bytes) == text


def test_markup_in_a_name_is_not_obeyed():
    table = table_of("[red]title", ["a"], [["[bold]b[/bold]"], [0.123456]])
    assert list(table.columns[0].cells) == ["\\[bold]b\\[/bold]", "0.1235"]
    assert table.title == "\\[red]title"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StoreError("x.zarr is odd", got=1, expected=2), 2, "error: x.zarr is odd; got 1; expected 2"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left", "x.zarr"), 2, "the disk is full: x.zarr. Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "x.zarr"), 2, "Check its permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file", "no/x.tsv"), 2, "Check that its folder exists"),
        (OSError("odd"), 2, "error: odd"),
    ],
)
def test_mistakes_are_one_message(error, code, message):
    app = typer.Typer(cls=Verbs)

    @app.command()
    def fails():
        raise error

    @app.command()
    def other():
        pass

    result = CliRunner().invoke(app, ["fails"])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_verbs_that_go_on_say_so_when_they_are_interrupted():
    verbs = {verb.__name__.replace("_", "-") for verb in VERBS}
    assert set(RESUMING) <= verbs
    for verb in sorted(verbs):
        stops = typer.Typer(cls=Verbs)

        @stops.command(verb)
        def interrupted():
            raise KeyboardInterrupt

        @stops.command()
        def other():
            pass

        result = CliRunner().invoke(stops, [verb])
        assert result.exit_code == 130
        said = "error: interrupted: what was written is kept; run the same command again to resume"
        assert result.stderr.strip() == (said if verb in RESUMING else "error: interrupted")


def test_an_interrupted_verb_says_what_it_kept():
    app = typer.Typer(cls=Verbs)

    @app.command()
    def stops():
        with on_interrupt(lambda: "m holds the best model so far"):
            raise KeyboardInterrupt

    @app.command()
    def other():
        pass

    result = CliRunner().invoke(app, ["stops"])
    assert result.exit_code == 130
    assert result.stderr.strip() == "error: interrupted: m holds the best model so far"


def test_plurals():
    assert [counted(n, "track") for n in (0, 1, 2_000)] == ["0 tracks", "1 track", "2,000 tracks"]


def test_one_reason_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr("epixs.cli.terminal.fail", said.append)
    fail_rows([("A", "/x/a.bw has no chrX"), ("B", "/x/b.bw has no chrX"), ("C", "/x/c.bw is empty")])
    assert said == [
        "A and 1 more could not be read: /x/a.bw has no chrX",
        "C could not be read: /x/c.bw is empty",
    ]


def test_a_table_in_a_pipe_has_one_line_per_row(capsys):
    terminal.show_table("t", ["name", "n"], [["x" * 300, 1], ["[red]y", float("nan")]])
    assert capsys.readouterr().out.splitlines() == [
        "t", f"{'name':300}  n", f"{'x' * 300}  1", f"{'[red]y':300}  -"
    ]  # fmt: skip


def test_progress_in_a_pipe_is_a_line_per_minute(capsys, monkeypatch):
    with terminal.progress_bar() as bar:
        count = terminal.counting(bar, "tiles")
        count(Progress(1, 8))
        terminal.fail("damaged")
        assert capsys.readouterr().err == "error: damaged\n"  # no minute is over
        bar._said -= terminal.SECONDS_PER_LINE
        count(Progress(1_000, 8_000))
        count(Progress(1_001, 8_000))
        assert re.fullmatch(r"tiles: 1,000 of 8,000, .* s elapsed(, .* left)?\n", capsys.readouterr().err)
        monkeypatch.setattr(terminal.notes, "quiet", True)
        bar._said -= terminal.SECONDS_PER_LINE
        count(Progress(2_000, 8_000))
        assert capsys.readouterr().err == ""


def test_where_nothing_is_the_answer_comes_before_any_import(tmp_path):
    with pytest.raises(EpixsError, match="store .*none.zarr does not exist. Make one with"):
        terminal.check_present("store", tmp_path, "s3://bucket/none.zarr", None, tmp_path / "none.zarr")


def test_names_from_files_do_not_control_the_terminal(capsys):
    terminal.say("a\x1b[2Jb\tc")
    terminal.fail("x\x9by\x07")
    printed = capsys.readouterr()
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in printed.out
    assert "\x1b[2J" not in printed.out
    assert not set(printed.err) & {"\x07", "\x9b"}
