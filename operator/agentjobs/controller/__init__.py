"""The operator: stores in the queue what people apply, and writes into ``status`` what the queue knows."""
