"""The objects of the runs API, as pydantic models: JSON, OpenAPI, tables and the dashboard's fragments are made from
them."""
