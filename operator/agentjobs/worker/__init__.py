"""The worker: a supervisor that claims jobs, and an executor, a forked process, for each running job."""
