import hashlib

import pytest

from epixs.errors import ConfigError, TrainingError
from epixs.storage.files import check_new_folder, check_report_folder, file_sha256, write_text


def test_text_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")
    write_text(path, "n\u00e9w")
    assert path.read_text(encoding="utf-8") == "n\u00e9w"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("epixs.storage.files.os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "half")
    assert path.read_text(encoding="utf-8") == "n\u00e9w"


def test_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_new_folder_is_new_or_empty(tmp_path):
    check_new_folder(tmp_path / "new", TrainingError)
    check_new_folder(tmp_path, TrainingError)
    (tmp_path / "thesis.docx").write_text("precious")
    for path, what in ((tmp_path, "not empty"), (tmp_path / "thesis.docx", "a file")):
        with pytest.raises(TrainingError, match=f"exists and is {what}; expected a new or empty folder"):
            check_new_folder(path, TrainingError)


def test_a_report_folder_holds_nothing_or_a_report(tmp_path):
    check_report_folder(tmp_path / "new")
    check_report_folder(tmp_path)
    (tmp_path / "thesis.docx").write_text("precious")
    for path in (tmp_path, tmp_path / "thesis.docx"):
        with pytest.raises(ConfigError, match="--report; got .*thesis.docx; expected a new or empty folder"):
            check_report_folder(path)
    (tmp_path / "scores.tsv").write_text("")
    check_report_folder(tmp_path)


def test_an_interrupted_run_is_told_how_to_go_on(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes(b"x")
    with pytest.raises(TrainingError, match="holds a run that was interrupted.*--resume"):
        check_new_folder(tmp_path, TrainingError)
