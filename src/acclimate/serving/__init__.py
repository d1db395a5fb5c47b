"""Serving: what was learned, answered over HTTP, where the next answer already knows the last event.

``store`` keeps events, ``retrieval`` finds the best items of a catalogue, ``service`` answers, ``http`` lets
others ask, ``page`` shows it to people, ``client`` asks from Python. Nothing here can learn.
"""
