"""Retrieval: the best items of a catalogue for one vector, exactly, or approximately with measured recall."""
