"""The exception classes that the clients of models export, and which of them no model call raises."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

MODULES = (
    "google.genai.errors",
    "google.genai._gaos.errors",
    "google.genai._gaos.lib.compat_errors",
    "google.auth.exceptions",
    "anthropic",
    "openai",
    "litellm.exceptions",
    "httpx",
    "httpx2",
    "aiohttp",
    "requests.exceptions",
)
NEVER = {
    "google.genai.errors": {
        "ExperimentalWarning": "a warning",
        "FunctionInvocationError": "of automatic function calling, which ADK switches off; so the two below",
        "UnknownFunctionCallArgumentError": "",
        "UnsupportedFunctionError": "",
    },
    "openai": {"InvalidWebhookSignatureError": "of a server that receives webhooks"},
    "litellm.exceptions": {
        "BlockedPiiEntityError": "of LiteLLM's proxy, whose answers have a status; so those below",
        "GuardrailRaisedException": "",
        "ModifyResponseException": "",
        "SensitiveDataRouteException": "",
    },
    "httpx": {
        "CookieConflict": "of cookies, which no client keeps",
        "StreamClosed": "a client's own fault, as those below: it reads a body twice, or not at all",
        "StreamConsumed": "",
        "StreamError": "",
        "RequestNotRead": "",
        "ResponseNotRead": "",
        "HTTPError": "the parent of the two that are raised",
    },
    "aiohttp": {
        "EofStream": "inside of aiohttp, as those below",
        "BadContentDispositionHeader": "",
        "BadContentDispositionParam": "",
        "WebSocketError": "of web sockets, which only live agents open",
        "WSMessageTypeError": "",
    },
    "requests.exceptions": {
        "FileModeWarning": "a warning",
        "RequestsDependencyWarning": "a warning",
        "RequestsWarning": "a warning",
    },
}
NEVER["httpx2"] = NEVER["httpx"]
"""Module → class → why no model call raises it."""


def exported(module: str) -> Iterator[type[BaseException]]:
    loaded = importlib.import_module(module)
    for name in dir(loaded):
        found = getattr(loaded, name)
        if not inspect.isclass(found) or not issubclass(found, BaseException):
            continue
        if found.__module__.partition(".")[0] == module.partition(".")[0]:
            yield found


CLASSES = [(module, kind) for module in MODULES for kind in dict.fromkeys(exported(module))]


def error_of(kind: type[BaseException], status: int | None) -> BaseException:
    """An error of this class, whatever its constructor asks for."""

    class Bare(kind):  # type: ignore[valid-type, misc]
        def __init__(self) -> None:
            pass

        def __str__(self) -> str:
            return "said"

    Bare.__name__, Bare.__module__ = kind.__name__, kind.__module__
    error = Bare.__new__(Bare)
    for name in ("code", "status_code", "status"):
        if status is not None:
            error.__dict__[name] = status
    return error
