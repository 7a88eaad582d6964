"""The API server, all requests to it, and kopf's watch: no other package talks HTTP or imports kopf."""
