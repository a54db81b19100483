import sys

import pytest

from epixs.cli import main


def test_ctrl_c_while_the_verbs_are_imported(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "epixs.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "epixs.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"
