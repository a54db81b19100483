import sys

import pytest

import epixs_command


def test_ctrl_c_while_the_command_is_imported(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "epixs.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "epixs.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as stopped:
        epixs_command.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"
