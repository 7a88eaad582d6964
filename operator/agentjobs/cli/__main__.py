"""``python -m agentjobs.cli``: the same as the command ``agentjobs``, for processes that start themselves
anew."""

from agentjobs.cli.entry import main

main()
