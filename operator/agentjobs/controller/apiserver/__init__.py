"""All requests to the API server, and kopf's watch: no other package asks it, or imports kopf."""
