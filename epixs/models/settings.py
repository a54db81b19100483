"""Settings by name, from TOML files, and from what earlier versions wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epixs.axis.axis import JointAxis
from epixs.config import Settings, TrainingSettings, read_toml
from epixs.errors import ConfigError, closest
from epixs.models.kinds import kind_named

DEFAULT_KIND = "context"
EARLIER_KIND = "avocado"
"""Kind of all models before there were several."""

TABLES = ("model", "training")


def make_settings(kind: str = DEFAULT_KIND, **settings: Any) -> Settings:
    """Settings of a training run, each by its name; what is not named keeps its default.

    Parameters
    ----------
    kind
        Kind of model.
    **settings
        Any setting of that kind or of training (docs/configuration.md).

    Raises
    ------
    ConfigError
        If the kind or a setting is unknown, or a value is impossible.

    Examples
    --------
    >>> import epixs
    >>> epixs.make_settings(members=8, max_minutes=30).training.max_minutes
    30.0
    """
    known = kind_named(kind)
    return Settings(known.settings(), known.training).replace(**settings)


def choose_kind(axis: JointAxis) -> tuple[str, str]:
    """Choose the kind of model for a set of compendia: the default one, unless it cannot be trained on them.

    Returns
    -------
    The kind, and why.
    """
    lacks = kind_named(DEFAULT_KIND).lacks(axis)
    if lacks:
        return EARLIER_KIND, f"{DEFAULT_KIND} needs {lacks}"
    return DEFAULT_KIND, "the default"


def read_settings(path: str | Path, kind: str | None = None, *, default_kind: str = DEFAULT_KIND) -> Settings:
    """Read the tables `[model]` and `[training]` of a TOML file; its other tables are left alone.

    Parameters
    ----------
    path
        The file.
    kind
        Kind of model that the file must not contradict.
    default_kind
        Kind where neither the file nor `kind` says it.

    Raises
    ------
    ConfigError
        If the file is no TOML or of an earlier version, or a setting is unknown or impossible.
    """
    path = Path(path)
    content = read_toml(path, "give a TOML file with --config, or leave it out for the defaults")
    tables = {name: content.pop(name, {}) for name in TABLES}
    _refuse_strays(content, str(path))
    if kind is not None:
        named = tables["model"].get("kind", kind) if isinstance(tables["model"], dict) else kind
        if named != kind:
            raise ConfigError(f"{path}: model.kind", got=repr(named), expected=f"{kind!r}, as --model says")
        tables["model"] = {**tables["model"], "kind": kind}
    return settings_from(tables, str(path), default_kind)


def _refuse_strays(content: Mapping[str, Any], where: str) -> None:
    """Refuse settings outside their tables, and say in which lines they belong."""
    old = content.get("train")
    if old is None:
        old = {name: value for name, value in content.items() if not _is_table(value)}
    if old:
        raise ConfigError(
            f"{where}: settings outside [model] and [training]",
            got="[train], as an earlier version had it" if "train" in content else ", ".join(old),
            expected=f"these lines:\n{_lines_of(old if isinstance(old, dict) else {})}",
        )
    for name in content:
        if closest(name, TABLES):
            raise ConfigError(f"{where}: table", got=f"[{name}]{closest(name, TABLES)}")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))


def _lines_of(old: Mapping[str, Any]) -> str:
    """The same settings in the two tables of today, as far as they are known."""
    kind = kind_named(old.get("model", EARLIER_KIND))
    model = {"kind": kind.name} | {name: old[name] for name in kind.settings.names() if name in old}
    training = {name: old[name] for name in TrainingSettings.names() if name in old}
    lines = []
    for name, table in (("model", model), ("training", training)):
        if table:  # in JSON, numbers, lists and texts are what they are in TOML
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def settings_from(tables: Any, where: str, default_kind: str = EARLIER_KIND) -> Settings:
    """Settings from the tables `model` and `training`, as files have them.

    Raises
    ------
    ConfigError
        Naming the file (`where`) and the setting by its table.
    """
    tables = {name: tables.get(name, {}) if isinstance(tables, dict) else tables for name in TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {name}", got=repr(table), expected=f"a table, [{name}]")
    kind_name, model = tables["model"].get("kind", default_kind), tables["model"].copy()
    model.pop("kind", None)
    try:
        kind = kind_named(kind_name)
        found = Settings(kind.settings(), kind.training)
        for table, values in ((found.model, model), (found.training, tables["training"])):
            if unknown := sorted(values.keys() - set(table.names())):
                raise ConfigError(
                    "unknown setting",
                    got=f"{table.table}.{unknown[0]}{closest(unknown[0], table.names())}",
                    expected=f"one of {', '.join(table.names())}",
                )
        return Settings(found.model.replace(model), found.training.replace(tables["training"]))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from error


def settings_from_flat(flat: Mapping[str, Any], where: str) -> Settings:
    """Settings from one table of all of them, as models of the first version and factor stores have them.

    Raises
    ------
    ConfigError
        As `settings_from`.
    """
    try:
        rest = {name: value for name, value in flat.items() if name != "model"}
        return make_settings(flat.get("model", EARLIER_KIND)).replace(**rest)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from error
