"""``web``: the dashboard, through the API server and with the user's own credentials."""

from __future__ import annotations

import os
import threading
import webbrowser
from typing import Annotated
from urllib.parse import quote

from agentjobs.cli.flags import echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.door import START
from agentjobs.cli.kubectl.door_server import open_door
from agentjobs.cli.kubectl.pace import interruptible
from agentjobs.cli.kubectl.runs_api import UI, RunsApi
from agentjobs.cli.kubectl.where import Where

PATHS = ("^/apis/(runs[.])?agentjobs[.]dev/v1alpha1(/|$)",)
"""Paths that the proxy behind the door passes on."""


def web(
    where: Where,
    port: Annotated[int, option(metavar="PORT", min=0, max=65535, help="Port. Default: a free one.")] = 0,
    everywhere: o.Everywhere = False,
    no_open: Annotated[bool, option("--no-open", help="Open no browser, only print the link.")] = False,
) -> None:
    """Open the dashboard, with your own rights, until Ctrl-C.

    It answers on 127.0.0.1 alone. The link lets one browser in, once: keep it to yourself.
    """
    with ApiServer.open(where, PATHS) as server:
        reply = server.request("GET", START, accept="text/html")
        if not reply.ok:
            raise RunsApi(server).refusal(reply, UI)
        start = START if everywhere else f"{START}?namespace={quote(server.namespace, safe='')}"
        with interruptible() as interrupt, open_door(port, server.socket, start) as door:
            echo(f"The dashboard: {door.link}")
            echo("It is open until Ctrl-C.", err=True)
            if not no_open:
                _open_browser(door.link)
            interrupt.event.wait()
            os.write(2, b"\n")


def _open_browser(link: str) -> None:
    """Opens it in a thread: some browsers return only when they end."""
    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
