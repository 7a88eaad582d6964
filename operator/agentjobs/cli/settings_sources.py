"""Sources of settings: flags, then the environment, then a file; and the messages about a wrong value."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from agentjobs.cli.errors import BadInput
from agentjobs.cli.settings import SECRETS, URL_EXAMPLE, Settings
from agentjobs.values.setting_names import PREFIX

# Variables that other code reads: the tests, and the choice of the settings file.
FOREIGN_VARIABLES = frozenset({"AGENTJOBS_CONFIG", "AGENTJOBS_REQUIRE"})
FOREIGN_PREFIXES = ("AGENTJOBS_TEST_", "AGENTJOBS_LOCAL_", "AGENTJOBS_BENCH_")


def load(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """The settings from all sources.

    :param flags: values of the command's flags by field; None or an empty list: not given.
    :param config: the settings file. None: the one that AGENTJOBS_CONFIG names, if any.
    :raises BadInput: with field, value, source and remedy in the message.
    """
    given: dict[str, Any] = {k: v for k, v in flags.items() if v is not None and v != []}
    path = config or (Path(os.environ["AGENTJOBS_CONFIG"]) if os.environ.get("AGENTJOBS_CONFIG") else None)
    from_file = read_file(path) if path else {}
    environment = {
        key[len(PREFIX) :].lower(): value
        for key, value in os.environ.items()
        if key.startswith(PREFIX) and value != ""
    }
    sources = (given, environment, from_file)
    origins = {name: _secret(name, sources) for name in SECRETS}
    given |= {name: found.value for name, found in origins.items() if found is not None}
    # a URL from a stronger source hides the file of a weaker one: it must not be read at a later connect
    given |= {f"{name}_file": found.file for name, found in origins.items() if found is not None}

    class WithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            stronger = super().settings_customise_sources(settings_cls, *args, **kwargs)
            return *stronger, InitSettingsSource(settings_cls, init_kwargs=from_file)

    try:
        return WithFile(**given)
    except ValidationError as error:
        lines = [
            _explain(dict(e), given, environment, origins, path) for e in error.errors(include_url=False)
        ]
        raise BadInput("\n".join(lines)) from None


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    :raises BadInput: the file cannot be read, or holds no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"The settings file '{path}' cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"The settings file '{path}' is not YAML: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInput(
            f"The settings file '{path}' must be a mapping of settings, not a {type(found).__name__}."
        )
    return {str(key): value for key, value in found.items()}


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """Warnings about AGENTJOBS_* variables that no setting has: without them nobody would notice a typing
    error."""
    warnings = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in FOREIGN_VARIABLES or name.startswith(FOREIGN_PREFIXES):
            continue
        field = name[len(PREFIX) :].lower()
        if field not in Settings.model_fields:
            near = difflib.get_close_matches(field, Settings.model_fields, n=1)
            hint = f" Did you mean {PREFIX}{near[0].upper()}?" if near else ""
            warnings.append(f"{name} is set, but no setting has that name: it is ignored.{hint}")
    return warnings


def flag_of(field: str) -> str:
    """The flag of a field. A flag that may be repeated is in the singular: ``queues`` is ``--queue``."""
    singular = {"queues": "queue", "modules": "module", "models": "model", "namespaces": "namespace"}
    return "--" + singular.get(field, field).replace("_", "-")


@dataclass(frozen=True, slots=True)
class _Secret:
    value: str = field(repr=False)
    named: str
    """Name of its source, for messages."""
    file: Path | None = None


def _secret(name: str, sources: Sequence[Mapping[str, Any]]) -> _Secret | None:
    """The secret from the strongest source that has it, or has the file with it."""
    for source in sources:
        itself, file = source.get(name), source.get(f"{name}_file")
        if itself and file:
            raise BadInput(f"Both {name} and {name}_file are set; keep one of them.")
        if itself:
            return _Secret(str(itself), PREFIX + name.upper())
        if file:
            path = Path(str(file))
            return _Secret(_read_secret(f"{name}_file", path), f"{name}_file ('{file}')", path)
    return None


def _read_secret(field: str, path: Path) -> str:
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(f"{field}: the file '{path}' cannot be read: {why}.") from None
    if not secret:
        raise BadInput(f"{field}: the file '{path}' is empty; it must hold a URL such as {URL_EXAMPLE}")
    return secret


def _explain(
    error: Mapping[str, Any],
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    origins: Mapping[str, _Secret | None],
    path: Path | None,
) -> str:
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden" and field not in Settings.model_fields:
        near = difflib.get_close_matches(field, Settings.model_fields, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "Known: " + ", ".join(Settings.model_fields) + "."
        return f"{field} (in '{path}'): there is no such setting. {hint}"
    info = Settings.model_fields[field]
    example = str(info.examples[0]) if info.examples else ""
    given: object = error["input"]
    if (secret := origins.get(field)) is not None:
        name = secret.named
    elif field in flags:
        name = flag_of(field)
        example = " ".join(f"{name} {part}" for part in example.split(","))
        given = (
            ",".join(given) if isinstance(given, list) and all(isinstance(g, str) for g in given) else given
        )
    elif field in environment:
        name = PREFIX + field.upper()
        example = f"{name}={example}"
    else:
        name = f"{field} (in '{path}')"
        example = f"{field}: {example}"
    inner = "".join(f".{part}" for part in error["loc"][1:])
    value = "" if field in SECRETS else f" got {given!r}:"
    problem = str(error["msg"]).removeprefix("Value error, ")
    hint = f" For example: {example}" if info.examples and field not in SECRETS else ""
    return f"{name}{inner}:{value} {problem}. {info.description}{hint}"
