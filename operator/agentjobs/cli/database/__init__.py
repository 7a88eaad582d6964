"""The plugin's verbs on a database, for jobs without a cluster: the same words and tables, from Queue instead of an API server."""
