"""The signal modules: the supervisor imports these modules of the application, which subscribe to signals."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from agentjobs.telemetry.log import tell
from agentjobs.values.setting_names import both_names

log = logging.getLogger(__name__)

HEAVY = ("google.adk", "google.genai")


class SignalModuleFailed(Exception):
    """A signal module cannot be imported. The worker must not start without its handlers."""


def load(modules: Sequence[str], path: Sequence[str]) -> None:
    """Imports signal modules, also from the pool's folders. Raises SignalModuleFailed, naming the remedy."""
    if not modules:
        return
    # at the end: a file of the application must not shadow a module that the supervisor imports
    sys.path.extend(folder for folder in path if folder not in sys.path)
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise SignalModuleFailed(
                f"signal_modules: {module!r} cannot be imported ({type(error).__name__}: {error}). "
                f"Correct it, put its folder into the path ({both_names('path')}), or take it out "
                f"of the signal modules ({both_names('signal_modules')})."
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
