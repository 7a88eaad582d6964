"""The agents of the examples. A worker runs them where its setting ``modules`` names ``agents``."""
