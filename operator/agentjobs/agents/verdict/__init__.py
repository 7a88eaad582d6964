"""What an attempt's end means: errors judged by a table."""
