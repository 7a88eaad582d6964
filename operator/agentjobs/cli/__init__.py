"""The command line: ``agentjobs …`` and the kubectl plugin."""
