"""The service: observe, recommend, rank, similar, explain, onboarding, erase, export."""
