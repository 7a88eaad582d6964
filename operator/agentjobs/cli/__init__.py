"""The command line: `agentjobs …`."""
