"""``completion``: what a shell has to be told."""

from __future__ import annotations

from typing import Annotated

from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import argument, echo
from agentjobs.cli.kubectl.completing import SHELLS

_TEXT = """\
# kubectl agentjobs <TAB> is completed by kubectl's own completion, which runs kubectl_complete-agentjobs from the PATH
# (it was installed together with kubectl-agentjobs). So the shell only has to know kubectl:
"""
_LINES = {
    "bash": "source <(kubectl completion bash)\n",
    "zsh": "autoload -Uz compinit && compinit\nsource <(kubectl completion zsh)\n",
    "fish": "kubectl completion fish | source\n",
}


def completion(shell: Annotated[str, argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print what bash, zsh or fish have to be told to complete `kubectl agentjobs`.

    \b
    kubectl agentjobs completion bash >> ~/.bashrc
    kubectl agentjobs completion zsh  >> ~/.zshrc
    kubectl agentjobs completion fish >> ~/.config/fish/config.fish
    """
    if shell not in SHELLS:
        raise BadInput(f"SHELL: {shell[:40]!r} is unknown; there are {', '.join(SHELLS)}.")
    echo(_TEXT + _LINES[shell], nl=False)
