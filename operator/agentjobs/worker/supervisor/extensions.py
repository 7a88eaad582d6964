"""The applications' own modules in the supervisor: they subscribe to signals when they are imported."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from agentjobs.telemetry.log import tell

log = logging.getLogger(__name__)

HEAVY = ("google.adk", "google.genai")


class SignalModuleFailed(Exception):
    """The worker must not start: what somebody counts on would never be told."""


def load(modules: Sequence[str], path: Sequence[str]) -> None:
    """Imports them, also from the pool's folders. Raises SignalModuleFailed, naming module, error and remedy."""
    if not modules:
        return
    # after ours: a file of an application must not take the place of a module of the supervisor's
    sys.path.extend(folder for folder in path if folder not in sys.path)
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise SignalModuleFailed(
                f"signal_modules: {module!r} cannot be imported ({type(error).__name__}: {error}). "
                f"Correct it, put its folder into the setting path, or take it out of signal_modules."
            ) from error
        if heavy := [name for name in HEAVY if name in sys.modules]:
            tell(
                log,
                "signal_module.heavy",
                level=logging.WARNING,
                module=module,
                imports=heavy,
                why="the supervisor takes 100 MB more with them: import them where agents run",
            )
