"""Imports of modules that an agent needs: what fails is told with the field that named the module, and a remedy."""

from __future__ import annotations

import importlib
import types

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, AgentNotFound
from agentjobs.agents.verdict.places import place_of


def import_module(name: str, settings: AgentSettings, *, where: str = "agent.module") -> types.ModuleType:
    """Imports ``name``.

    :param where: the field that names it, for messages.
    :raises AgentNotFound: there is no such module in this worker's image.
    :raises AgentInvalid: the module's import failed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise AgentNotFound(
                f"{where}: there is no module {missing!r} {here(settings)} (looked for {name!r}). "
                f"Correct the name, or {'put it into this folder, or beside the manifest' if settings.local else 'use an image that contains it, or put its folder on PYTHONPATH'}."
            ) from error
        raise AgentInvalid(
            f"{where}: {name!r} failed at import: it needs the module {missing!r}, which is not "
            f"{here(settings)}. Install it {'with pip' if settings.local else 'in the image'}."
        ) from error
    except AgentError:
        raise
    except (Exception, SystemExit) as error:
        if variable := missing_variable(error):
            raise AgentInvalid(
                f"{where}: {name!r} failed at import: it reads the environment variable {variable!r}, which "
                f"{unset(settings)}, or give it a default in the module."
            ) from error
        raise AgentInvalid(
            f"{where}: {name!r} failed at import: {told(error, name)}. Correct the module; importing it must not "
            f"need arguments, input or a running event loop."
        ) from error


def here(settings: AgentSettings) -> str:
    return "here" if settings.local else "in this worker's image"


def unset(settings: AgentSettings) -> str:
    """The end of a sentence about an environment variable, and the begin of its remedy."""
    if settings.local:
        return "is not set here. Set it in this shell, or in .env beside the agent"
    return f"this worker does not have. Set it for the worker pool (pools.{settings.pool}.env of the chart)"


def missing_variable(error: BaseException) -> str:
    """Name of the environment variable that ``os.environ[…]`` was asked for in vain. Empty: ``error`` is another."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = trace.tb_frame.f_globals.get("__name__") if trace is not None else ""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args and raised_in == "os" else ""


def told(error: BaseException, module: str) -> str:
    """The class and text of ``error``, and the line of the agent's code that it came through."""
    text = " ".join(str(error).split())
    place = place_of(error, module)
    words = f"{type(error).__name__}: {text[:1000]}" if text else type(error).__name__
    return f"{words} at {place}" if place else words
