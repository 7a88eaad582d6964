"""``agentjobs local``: from files or an agent folder to answers, with an embedded Postgres and one worker."""
