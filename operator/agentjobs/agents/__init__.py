"""How an agent runs: resolve it, run it through ADK, classify the outcome, keep its session."""
