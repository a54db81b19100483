"""Write `api.md` and `reference.md` beside this file: the public names, and their docstrings."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
REFERENCE = ROOT / "docs" / "reference.md"
HEAD = """# Public names

`import epixs` gives these names. Each is loaded when it is first used. A verb of the command line calls the
function beside it, with the same arguments. All other names may change from version to version.
[Functions and classes](reference.md) has the docstrings. `python docs/make_api.py` writes both pages.
"""
REFERENCE_HEAD = """# Functions and classes

The docstrings of all [public names](api.md). The site shows them in full; this file only names them.
"""
METHODS_TOO = ["    options:", "      members: null", '      filters: ["!^_", "!^on_"]']
CALLBACKS = ROOT / "epixs" / "training" / "callbacks" / "__init__.py"
VERBS = {"make_catalog": "catalog"}
"""Verbs that have another name than their function: a folder of the package is called `catalog`."""


def groups() -> dict[str, dict[str, str]]:
    """Public names and their modules, by the headings of the stub, in its order."""
    found: dict[str, dict[str, str]] = {}
    stub = (ROOT / "epixs" / "__init__.pyi").read_text(encoding="utf-8")
    for block in stub.split("\n\n")[1:]:
        title, *lines = block.strip().splitlines()
        imports = ast.parse("\n".join(lines)).body
        found[title.removeprefix("# ")] = {
            line.names[0].name: str(line.module) for line in imports if isinstance(line, ast.ImportFrom)
        }
    return found


def sentence(module: str, name: str) -> str:
    """The first line of a function's or class's docstring, read from its source: nothing is imported."""
    path = ROOT / "epixs" / (module.replace(".", "/") + ".py")
    if not path.is_file():  # the package gives it on
        package = path.with_suffix("") / "__init__.py"
        inner = package.parent / name / "__init__.py"
        if inner.is_file():
            return str(ast.get_docstring(ast.parse(inner.read_text(encoding="utf-8")))).split("\n")[0]
        home = re.search(rf"from epixs\.(\S+) import {name}\b", package.read_text(encoding="utf-8"))
        return sentence(home[1], name) if home else ""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""


def page() -> str:
    """The whole page."""
    verbs = set(re.findall(r"\w+", re.search(r"VERBS = \((.*?)\)", _app(), re.S)[1]))
    lines = [HEAD]
    for title, names in groups().items():
        lines += [f"## {title}\n", "| name | what | verb |", "|---|---|---|"]
        for name, module in names.items():
            verb = VERBS.get(name, name)
            shown = f"`epixs {verb.replace('_', '-')}`" if verb in verbs else ""
            lines.append(f"| `{name}` | {sentence(module, name)} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def reference() -> str:
    """The page that the site fills with the docstrings."""
    lines = [REFERENCE_HEAD]
    for title, names in groups().items():
        lines.append(f"## {title}\n")
        for name in names:
            lines.append(f"::: epixs.{name}")
            if name[0].isupper():  # its methods too
                lines += METHODS_TOO
            lines.append("")
            if name == "callbacks":
                for each in re.findall(r"import (\w+) as", CALLBACKS.read_text(encoding="utf-8")):
                    lines += [f"::: epixs.training.callbacks.{each}", *METHODS_TOO, ""]
    return "\n".join(lines)


def _app() -> str:
    return (ROOT / "epixs" / "cli" / "app.py").read_text(encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    REFERENCE.write_text(reference(), encoding="utf-8")
