"""The agents of the examples. A worker may run them where its setting modules names ``agents``."""
