"""The worker: a supervisor that claims jobs, and one forked executor process per running job."""
