"""Values that cross the borders between packages. This package imports nothing of agentjobs."""
