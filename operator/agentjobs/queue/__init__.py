"""The queue in Postgres: its tables and functions, its statements, the delays of retries.

No other package imports psycopg but the session store.
"""
