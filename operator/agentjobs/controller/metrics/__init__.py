"""The operator's metrics: counters in memory, and the queue's numbers from the database."""
