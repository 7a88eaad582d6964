"""Connections to Postgres, and what its errors mean: the same for the queue and the session store."""
