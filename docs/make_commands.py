"""Write `commands.md` beside this file: every verb with its example, arguments and options."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import get_origin

from typer.models import ArgumentInfo

from epixs.cli.app import VERBS
from epixs.cli.examples import EXAMPLES
from epixs.cli.terminal import EXIT_CODES

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Written by `python docs/make_commands.py` from the code; `epixs VERB --help` says the same in a terminal.
The examples are one session. Paste them in this order, in an empty folder, after this one, which is that of
`epixs simulate`:

```bash
{first}
```

Tables and results go to standard output; progress, notes, warnings and errors go to standard error. Every
verb but `demo` takes `--quiet`, which leaves out progress and notes. Every verb that reports takes `--json`:
one JSON object goes to standard output and all else to standard error. Options may stand before or after
arguments.

## Exit codes

| code | meaning |
|---|---|
{codes}

## Shell completion

`epixs --install-completion` teaches bash, zsh or fish the verbs and options. Open a new shell afterwards.
`epixs --show-completion` prints the script, to be put wherever you like.
"""


def arguments_and_options(function: Callable[..., None]) -> str:
    """The table of what a verb takes, from its signature."""
    lines = ["| argument or option | meaning | default |", "|---|---|---|"]
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        kind, declared = parameter.annotation.__origin__, parameter.annotation.__metadata__[0]
        choices = [c.value for c in kind] if inspect.isclass(kind) and issubclass(kind, StrEnum) else []
        flag = kind in (bool, bool | None)
        value = declared.metavar or name.upper()
        meaning = f"{declared.help} ({', '.join(choices)})" if choices else declared.help
        if isinstance(declared, ArgumentInfo):
            shown = value + "..." * (get_origin(kind) is list)
        else:
            # In `Annotated`, typer takes the first name that is given for a default.
            names = [n for n in (declared.default, *(declared.param_decls or ())) if isinstance(n, str)]
            shown = ", ".join(names or [f"--{name.replace('_', '-')}"])
            shown += "" if flag else f" {value}"
        default = parameter.default
        if default is inspect.Parameter.empty:
            default = "required"
        elif default is None or default is False:
            default = ""
        else:
            default = f"`{default}`"
        lines.append(f"| `{shown}` | {meaning} | {default} |".replace("|  |", "| |"))
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [HEAD.format(first=EXAMPLES["simulate"], codes=codes)]
    for function in VERBS:
        name = function.__name__.replace("_", "-")
        text = " ".join(str(inspect.getdoc(function)).split())
        shown = "The example is above." if name == "simulate" else f"```bash\n{EXAMPLES[name]}\n```"
        parts.append(f"## epixs {name}\n\n{text}\n\n{shown}\n\n{arguments_and_options(function)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
