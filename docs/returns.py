"""What the site needs to know of our docstrings: prose stands under `Returns`."""

import re

import griffe

SECTION = re.compile(r"(?<=\nReturns\n-------\n)(?:\S.*\n?)+")


class ReturnsAsProse(griffe.Extension):
    """Put the annotation before the prose of each `Returns`, as numpydoc has it."""

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        """Rewrite the docstring of one function."""
        if func.docstring and func.returns is not None:
            prose = SECTION.sub(lambda found: self._typed(found[0], str(func.returns)), func.docstring.value)
            func.docstring.value = prose

    @staticmethod
    def _typed(prose: str, annotation: str) -> str:
        return f"{annotation}\n" + "".join(f"    {line}\n" for line in prose.splitlines())
