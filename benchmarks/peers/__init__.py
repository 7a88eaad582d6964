"""Other Postgres queues under the same work, each as its own documentation tunes it for throughput."""
