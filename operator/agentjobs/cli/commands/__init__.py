"""One module per command: its flags, and nothing that is slow to import."""
