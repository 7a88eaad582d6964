"""Manifests at URLs, as ``kubectl -f https://…`` reads them."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request

from agentjobs import __version__
from agentjobs.cli.errors import BadInput

MOST_BYTES = 4 << 20
"""More than any manifest: etcd takes 1.5 MiB."""
STEP_SECONDS = 10.0
"""For each step of the way: to connect, and until a part of the answer is there."""
WHOLE_SECONDS = 60.0
_URL = re.compile(r"https?://", re.IGNORECASE)
_PART = 1 << 16


def is_url(file: str) -> bool:
    """Whether ``-f`` names a URL, and not a file."""
    return _URL.match(file) is not None


def fetch(url: str) -> str:
    """The text at the URL, through the proxy that the environment names, if any.

    :raises BadInput: with why it cannot be had.
    """
    named = f"-f '{url}'"
    try:
        asked = urllib.request.Request(url, headers={"User-Agent": f"agentjobs/{__version__}"})
        with urllib.request.urlopen(asked, timeout=STEP_SECONDS) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise BadInput(
                    f"{named} is a web page, and no manifest. On GitHub and GitLab the button Raw leads to the file's own address."
                )
            return _read(answer, named).decode()
    except urllib.error.HTTPError as error:
        raise BadInput(f"{named} cannot be read: the server answered {error.code} {error.reason}.") from None
    except urllib.error.URLError as error:
        why = getattr(error.reason, "strerror", None) or str(error.reason)
        raise BadInput(f"{named} cannot be reached: {why}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"{named} cannot be read: it is not UTF-8 text.") from None
    except TimeoutError:
        raise BadInput(f"{named} cannot be read: nothing came for {STEP_SECONDS:.0f} s.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BadInput(f"{named} cannot be read: {error or type(error).__name__}.") from None


def _read(answer: http.client.HTTPResponse, named: str) -> bytes:
    end, text = time.monotonic() + WHOLE_SECONDS, b""
    while part := answer.read1(_PART):
        text += part
        if len(text) > MOST_BYTES:
            raise BadInput(f"{named} has more than {MOST_BYTES >> 20} MiB, which no manifest has.")
        if time.monotonic() > end:
            raise BadInput(f"{named} cannot be read: it was not there after {WHOLE_SECONDS:.0f} s.")
    promised = answer.headers.get("Content-Length", "")  # read1 does not mind less
    if promised.isdecimal() and len(text) < int(promised):
        raise BadInput(f"{named} cannot be read: it was cut off after {len(text)} of {promised} bytes.")
    return text
