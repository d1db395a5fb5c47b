"""The catalogue: the model's items, and those that a tenant added while serving."""
