"""The supervisor: claims jobs, keeps their leases, tells the queue how runs ended. It never imports google-adk."""
