import json
import os

import pytest
from typer.testing import CliRunner

from epixs.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_bigwigs_of_a_store(world, tmp_path):
    done = run(
        world.store("mouse"), "--bigwig", tmp_path / "out", "--biosample", "simulated-mouse-00", "--json"
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {track["biosample"] for track in found["tracks"]} == {"simulated-mouse-00"}
    assert len(os.listdir(tmp_path / "out")) == len(found["tracks"]) + 1
    assert "bigWigs in arcsinh of the tracks' own units" in done.stderr


def test_a_hub_of_what_a_model_imputes(world, trained, tmp_path):
    done = run(
        world.store("mouse"), "--model", trained.folder, "--pairs", world.pairs, "--hub", tmp_path / "hub"
    )
    assert done.exit_code == 0, done.output
    assert "give a genome browser the URL of its hub.txt" in done.stdout
    tracks = (tmp_path / "hub" / "mm10" / "trackDb.txt").read_text()
    assert "IMPUTED" in tracks
    assert "Observed:" not in tracks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all"], "--all without --model"),
        (["--two-bit", "x"], "--two-bit without --hub"),
        (["--email", "me@lab.org"], "--email without --hub"),
        (["--pairs", "nowhere"], "--pairs nowhere does not exist"),
        (["--chrom-sizes", "nowhere"], "file nowhere does not exist"),
        (["--assay", "ChIP"], "got 'ChIP' (did you mean"),
    ],
)
def test_mistakes_end_in_a_sentence(world, tmp_path, options, message):
    done = run(world.store("mouse"), "--bigwig", tmp_path / "out", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
