"""Name biosamples by all columns of a portal table that describe them."""

from __future__ import annotations

import pandas as pd

TREATMENT = ("Biosample treatments", "Biosample treatments amount", "Biosample treatments duration")

MODIFICATION = "Biosample genetic modifications"

PLAIN_COLUMNS = ("Biosample term id", "Biosample term name", "Biosample type", "Biosample organism")
"""Columns about a biosample that cannot distinguish two biosamples of the same term."""


def biosample_names(files: pd.DataFrame) -> pd.Series[str]:
    """Name each file's biosample: its term, and all else in the table that distinguishes biosamples.

    These are treatments with amount and duration, genetic modifications, other columns about the biosample
    (older tables have life stage, age, sex and the like), and the type if a term occurs with several types.
    """
    modifications = [name for name in files.columns if name.startswith(MODIFICATION)]
    known = (*PLAIN_COLUMNS, *TREATMENT)
    further = [
        name
        for name in files.columns
        if name.startswith("Biosample ") and name not in known and not name.startswith(MODIFICATION)
    ]
    types = {}
    if "Biosample type" in files.columns:
        kinds = files.groupby("Biosample term name")["Biosample type"].nunique()
        types = {str(term): "Biosample type" for term, count in kinds.items() if count > 1}
    names = []
    for record in files.to_dict("records"):
        term = str(record["Biosample term name"])
        telling = [*filter(None, [types.get(term)]), *further]
        details = [str(record[name]) for name in telling if record[name]]
        name = f"{term} ({', '.join(details)})" if details else term
        modified = " ".join(dict.fromkeys(str(record[column]) for column in modifications if record[column]))
        name += f" genetically modified ({modified})" if modified else ""
        treated = _treatments(*(str(record.get(column, "")) for column in TREATMENT))
        names.append(f"{name} treated with {treated}" if treated else name)
    return pd.Series(names, index=files.index, dtype=object)


def _treatments(names: str, amounts: str, durations: str) -> str:
    """Turn `"dexamethasone"`, `"100 nM"`, `"4 hour"` into `"100 nM dexamethasone for 4 hour"`.

    Each text may be a list with commas.
    """
    each = [[part.strip() for part in text.split(",")] for text in (names, amounts, durations)]
    count = len(each[0])
    if not all(len(parts) == count or parts == [""] for parts in each):  # unclear which belong together
        each, count = [[names], [amounts], [durations]], 1
    columns = [parts if len(parts) == count else [""] * count for parts in each]
    treatments = [
        " ".join(part for part in (amount, name, duration and f"for {duration}") if part)
        for name, amount, duration in zip(*columns, strict=True)
    ]
    return ", ".join(treatment for treatment in treatments if treatment)
