"""What users write: the resources as pydantic models, their conditions and reasons, and the CRDs made from them."""
