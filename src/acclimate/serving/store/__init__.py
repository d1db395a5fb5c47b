"""Stores: where events are kept, and what is acknowledged is on disk."""
