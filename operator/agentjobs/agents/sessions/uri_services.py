"""Services by URI: ADK's own services for artifacts and memories, or somebody's, at the place that the pool's settings name.

ADK's registry makes them, as for ``adk web``. ``services.yaml`` and ``services.py`` add schemes to it; what they name is imported
only where the pool allows it (invariant 12). Runs in the executor, and once where a worker starts (``services_check``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import yaml
from google.adk.artifacts.base_artifact_service import BaseArtifactService
from google.adk.cli.service_registry import ServiceFactory, ServiceRegistry, get_service_registry
from google.adk.memory.base_memory_service import BaseMemoryService

from agentjobs.agents.definition.allow_lists import home_of, module_allowed
from agentjobs.agents.definition.importing import here, import_module, told
from agentjobs.agents.definition.settings import SERVICES_FILES, SERVICES_MODULE, AgentSettings
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.values.setting_names import both_names

HIDDEN = "[hidden]"
_EXTRAS = {"gs": ("google-cloud-storage", "agentjobs[gcs]")}
"""What ADK's service of a scheme needs beside ADK, where ADK itself does not say it."""


class ServiceInvalid(ValueError):
    """A service cannot be made as the pool's settings have it. The message names setting, value and remedy."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of services that a pool may set by URI."""

    noun: str
    """As ``type`` of services.yaml has it."""
    base: type

    def uri(self, settings: AgentSettings) -> str | None:
        """The pool's URI. None: the session store serves."""
        found: str | None = getattr(settings, self._setting)
        return found

    def names(self, settings: AgentSettings) -> str:
        """The setting for people."""
        if settings.local:
            return f"--{self._setting}"
        return both_names(self._setting, pool=settings.pool)

    @property
    def _setting(self) -> str:
        return f"{self.noun}_service_uri"

    def factories(self, registry: ServiceRegistry) -> dict[str, ServiceFactory]:
        """The registry's services of this kind by scheme."""
        found: dict[str, ServiceFactory] = getattr(registry, f"_{self.noun}_factories")
        return found


ARTIFACTS = Kind("artifact", BaseArtifactService)
MEMORY = Kind("memory", BaseMemoryService)


def shown_uri(uri: str) -> str:
    """``uri`` for people, as ADK logs it: without user, password and values of its query. Pure."""
    try:
        parts = urlsplit(uri)
        query = "&".join(f"{key}={HIDDEN}" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    if "://" not in uri:
        return urlunsplit((parts.scheme, host, parts.path, query, ""))
    # not by urlunsplit, which leaves out the // of memory:// and of box:///folder
    return f"{parts.scheme}://{host}{parts.path}{f'?{query}' if query else ''}"


def without_uri(text: str, uri: str) -> str:
    """``text`` of an error of that place's service, without the secrets of its URI. Pure."""
    try:
        parts = urlsplit(uri)
        secrets = [parts.password, *(value for _, value in parse_qsl(parts.query))]
    except ValueError:
        secrets = []
    text = text.replace(uri, shown_uri(uri))
    for secret in filter(None, secrets):
        text = text.replace(secret, HIDDEN)
    return text


def made(kind: Kind, settings: AgentSettings) -> Any:
    """The pool's service of that kind.

    :raises ServiceInvalid: nobody knows the scheme, a package is missing, services.yaml is wrong, or names what the pool does not allow.
    """
    uri = kind.uri(settings)
    assert uri is not None
    where = f"{kind.names(settings)}: {shown_uri(uri)!r}"
    scheme = urlsplit(uri).scheme
    registry = get_service_registry()
    factories = kind.factories(registry)
    own = _register_own(kind, scheme, settings, factories) if settings.services_folder else []
    if scheme not in factories:
        known = ", ".join(f"{name}://" for name in sorted({*factories, *own}))
        what = f"no {kind.noun} service has the scheme {scheme!r}" if scheme else "it has no scheme"
        raise ServiceInvalid(
            f"{where}: {what}. Known: {known}. Correct it, or name the scheme's class in a services.yaml beside the agents."
        )
    try:
        service = factories[scheme](uri, agents_dir=settings.services_folder or os.getcwd())
    except ImportError as error:
        package, extra = _EXTRAS.get(scheme, ("", ""))
        if not package:  # ADK's own words name its extra
            raise ServiceInvalid(f"{where}: {without_uri(told(error, ''), uri)}") from error
        raise ServiceInvalid(
            f"{where}: it needs the package {package}, which is not {here(settings)}. Install it: pip install '{extra}'"
        ) from error
    except (Exception, SystemExit) as error:
        raise ServiceInvalid(
            f"{where}: the service cannot be made: {without_uri(told(error, ''), uri)}. Correct the URI, or what it needs of "
            f"the environment."
        ) from error
    if not isinstance(service, kind.base):
        raise ServiceInvalid(
            f"{where}: the scheme's class makes a {type(service).__name__}, which is no {kind.base.__name__} of ADK's. Derive it "
            f"from that."
        )
    return service


def _register_own(
    kind: Kind, scheme: str, settings: AgentSettings, factories: dict[str, ServiceFactory]
) -> list[str]:
    """Lets services.yaml and services.py add the scheme. Of the file, nothing is imported that another scheme or kind needs.

    :returns: the file's schemes of this kind.
    """
    assert settings.services_folder is not None
    folder = Path(settings.services_folder)
    found = [entry for name in SERVICES_FILES for entry in _entries(folder / name, kind)]
    module = folder / f"{SERVICES_MODULE}.py"
    if (found or module.is_file()) and str(folder) not in sys.path:
        sys.path.append(str(folder))  # ADK puts it in front of all others, where it would hide theirs
    for file, own_scheme, class_path in found:
        if own_scheme == scheme:
            factories[scheme] = _factory(class_path, f"{file}: class {class_path[:200]!r}", settings)
    if module.is_file():
        _check_allowed(SERVICES_MODULE, str(module), settings)
        try:
            import_module(SERVICES_MODULE, settings, where=str(module))
        except AgentError as error:
            raise ServiceInvalid(str(error)) from error
    return [own_scheme for _, own_scheme, _ in found]


def _entries(file: Path, kind: Kind) -> Iterator[tuple[Path, str, str]]:
    """The entries of that kind, as file, scheme and class."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServiceInvalid(f"{file}: it cannot be read: {' '.join(str(error).split())}") from error
    if content is None or (isinstance(content, dict) and "services" not in content):
        return  # ADK lets it pass, too
    entries = content["services"] if isinstance(content, dict) else None
    for entry in entries if isinstance(entries, list) else [None]:
        wanted = ("scheme", "type", "class")
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in wanted):
            raise ServiceInvalid(
                f"{file}: a list is wanted under services, each entry with scheme, type and class, such as "
                f"{{scheme: mine, type: {kind.noun}, class: my_agents.services.Mine}}."
            )
        if entry["type"] == kind.noun:
            yield file, entry["scheme"], entry["class"]


def _factory(class_path: str, where: str, settings: AgentSettings) -> ServiceFactory:
    """A scheme's factory, as ADK makes it of services.yaml."""
    module, _, name = class_path.rpartition(".")
    if not module:
        raise ServiceInvalid(f"{where}: it has no module. Write one such as my_agents.services.Mine.")
    _check_allowed(module, where, settings)
    try:
        found: Any = getattr(import_module(module, settings, where=where), name, None)
    except AgentError as error:
        raise ServiceInvalid(str(error)) from error
    if not callable(found):
        raise ServiceInvalid(
            f"{where}: {module} has no class {name!r}. Correct the name, or define it there."
        )
    if _is_pythons(home := home_of(found)):
        raise ServiceInvalid(f"{where}: it is of the module {home!r}, which {module} only imports.")

    def factory(uri: str, **more: Any) -> Any:
        return found(uri=uri, **more)

    return factory


def _check_allowed(module: str, where: str, settings: AgentSettings) -> None:
    if _is_pythons(module):
        raise ServiceInvalid(
            f"{where}: {module!r} is of Python's standard library, which has no services of ADK's. Name a class of your own."
        )
    if not settings.local and not module_allowed(module, settings.modules):
        raise ServiceInvalid(
            f"{where}: worker pool {settings.pool!r} does not allow module {module!r}; it allows: "
            f"{', '.join(settings.modules) or 'none'}. Have it added to {both_names('modules', pool=settings.pool)}."
        )


def _is_pythons(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names
