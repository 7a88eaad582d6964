"""The API: both kinds as pydantic models, their conditions, and the CRDs and reference made from them."""
