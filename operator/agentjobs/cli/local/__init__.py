"""``agentjobs local``: manifests or an agent's folder run to answers, on an embedded Postgres and one
worker."""
