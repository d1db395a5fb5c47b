"""HTTP: routes, keys, limits, metrics and logs around the service, and the server that runs it."""
