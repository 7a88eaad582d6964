"""What is stored: migrations, statements, and the arithmetic of retries. The only package that talks to Postgres."""
