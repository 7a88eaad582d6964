"""What is stored: tables, functions, statements, and the arithmetic of retries. The only package that talks to Postgres."""
