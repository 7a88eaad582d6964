"""One attempt of a job, through ADK."""
