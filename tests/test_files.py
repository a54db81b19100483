import hashlib

import pytest

from epixs.files import file_sha256, write_text


def test_text_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")
    write_text(path, "n\u00e9w")
    assert path.read_text(encoding="utf-8") == "n\u00e9w"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("epixs.files.os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "half")
    assert path.read_text(encoding="utf-8") == "n\u00e9w"


def test_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"x" * 100_000).hexdigest()
