"""People: what is known of a person, and what an engine made of it."""
