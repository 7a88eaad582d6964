"""The supervisor's process: it claims jobs, renews the lease and acks runs. It never imports google-adk."""
