"""The processes of runs: the supervisor's handles of template and executors, and what these two processes do."""
