"""The example of each verb, pasted into a shell in the order of the documents; and what all verbs have in common."""

import inspect
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from epixs.cli.app import VERBS, app
from epixs.cli.examples import EXAMPLES
from epixs.cli.terminal import EXIT_CODES
from tests.patience import PATIENCE
from tests.test_public import page_maker

NAMES = [verb.__name__.replace("_", "-") for verb in VERBS]
SESSION = [name for name in EXAMPLES if name not in ("browse", "demo")]
"""`browse` serves until it is interrupted (below); what `demo` does is tested by itself."""


@pytest.fixture
def shell(tmp_path):
    """A folder, and an environment in which `epixs` is this one."""
    command = tmp_path / "bin" / "epixs"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m epixs.cli "$@"\n')
    command.chmod(0o755)
    folder = tmp_path / "here"
    folder.mkdir()
    return folder, {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}


def test_every_verb_has_one():
    assert sorted(EXAMPLES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_it_as_it_is_pasted(name):
    shown = CliRunner().invoke(app, [name, "--help"]).output
    assert shown.split("Example:\n\n")[1].strip("\n") == "\n".join(
        f"  {line}" for line in EXAMPLES[name].splitlines()
    )


@pytest.mark.slow
def test_each_works_where_it_is_pasted_after_the_others(shell):
    pytest.importorskip("matplotlib")
    pytest.importorskip("igv_notebook")
    folder, environment = shell
    for name in SESSION:
        done = subprocess.run(
            ["sh", "-e", "-c", EXAMPLES[name]],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    for made in (
        "scores/scores.tsv",
        "track.png",
        "curves.png",
        "mouse-qc/qc.html",
        "tracks",
        "factors.zarr",
    ):
        assert (folder / made).exists(), made
    serving = subprocess.Popen(
        ["sh", "-c", f"exec {EXAMPLES['browse']}"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert serving.stdout.readline().startswith("open http://127.0.0.1:")
    finally:
        serving.send_signal(signal.SIGINT)
    _, said = serving.communicate(timeout=PATIENCE)
    assert serving.returncode == 0, said
    assert "the page is closed" in said


def test_the_page_of_commands_is_up_to_date():
    made = page_maker("make_commands")
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run `python docs/make_commands.py`"
    assert all(f"\n## epixs {name}\n" in text for name in NAMES)
    assert all(f"\n| {code} | " in text for code in EXIT_CODES)


def test_all_verbs_can_be_quiet():
    assert [v.__name__ for v in VERBS if "quiet" not in inspect.signature(v).parameters] == ["demo"]


@pytest.mark.slow
def test_quiet_leaves_notes_out_and_warnings_in(world, tmp_path):
    """Of a model that is nothing to impute from, the note goes; a result and an error stay."""
    store = tmp_path / "m.zarr"
    ingest = ["ingest", world.catalog, "--species", "mouse", "--regions", world.bed("mouse"), "--out", store]
    loud = CliRunner().invoke(app, [*map(str, ingest), "--workers", "1"])
    again = CliRunner().invoke(app, [*map(str, ingest), "--workers", "1", "--quiet"])
    assert "note: Dask dashboard" in loud.stderr
    assert "note:" not in again.stderr
    assert loud.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]
    assert loud.stderr.count("warning:") == again.stderr.count("warning:") > 0
    after = CliRunner().invoke(app, [*map(str, ingest), "--workers", "1"])
    assert "note: Dask dashboard" in after.stderr


def test_the_shell_completes_verbs():
    environment = {
        **os.environ,
        "_EPIXS_COMPLETE": "complete_bash",
        "COMP_WORDS": "epixs in",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from epixs.cli.app import app; app(prog_name='epixs')"],
        env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == ["info", "ingest"]


def test_who_stops_reading_gets_no_message(world):
    command = (
        f"{shlex.quote(sys.executable)} -m epixs.cli info {shlex.quote(str(world.store('mouse')))} --json"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; ({command}) | head -c 1 > /dev/null"],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
