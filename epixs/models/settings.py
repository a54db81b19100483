"""Make settings by name, from TOML files, and from the files of earlier versions."""

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
"""Kind of all models from before there were several kinds."""

TABLES = ("model", "training")


def make_settings(kind: str = DEFAULT_KIND, **settings: Any) -> Settings:
    """Make the settings of a training run, each by its name; the others keep their defaults.

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
    The kind, and the reason.
    """
    lacks = kind_named(DEFAULT_KIND).lacks(axis)
    if lacks:
        return EARLIER_KIND, f"{DEFAULT_KIND} needs {lacks}"
    return DEFAULT_KIND, "the default"


def read_settings(path: str | Path, kind: str | None = None, *, default_kind: str = DEFAULT_KIND) -> Settings:
    """Read the tables `[model]` and `[training]` of a TOML file; tables of quite other names are ignored.

    Parameters
    ----------
    path
        The file.
    kind
        Kind of model; the file must not name another.
    default_kind
        Kind of model if neither the file nor `kind` names one.

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
    """Refuse settings outside their tables, with a message that shows the right lines."""
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
    """Write the known settings of an old file as lines of the two tables of today."""
    kind = kind_named(old.get("model", EARLIER_KIND))
    model = {"kind": kind.name} | {name: old[name] for name in kind.settings.names() if name in old}
    training = {name: old[name] for name in TrainingSettings.names() if name in old}
    lines = []
    for name, table in (("model", model), ("training", training)):
        if table:  # JSON and TOML write numbers, lists and texts alike
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def settings_from(tables: Any, where: str, default_kind: str = EARLIER_KIND) -> Settings:
    """Make settings from the tables `model` and `training` of a file.

    Raises
    ------
    ConfigError
        If a setting is unknown or impossible; the message names the file (`where`), table and setting.
    """
    model, training = (tables.get(name, {}) if isinstance(tables, dict) else tables for name in TABLES)
    try:
        kind = kind_named(default_kind)
        if isinstance(model, dict) and "kind" in model:
            kind = kind_named(model["kind"])
            model = {name: value for name, value in model.items() if name != "kind"}
        return Settings(kind.settings.from_table(model), TrainingSettings.from_table(training, kind.training))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from error


def settings_from_flat(flat: Mapping[str, Any], where: str) -> Settings:
    """Make settings from one table of all of them, as in models of the first version and factor stores.

    Raises
    ------
    ConfigError
        As in `settings_from`.
    """
    try:
        rest = {name: value for name, value in flat.items() if name != "model"}
        return make_settings(flat.get("model", EARLIER_KIND)).replace(**rest)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from error
