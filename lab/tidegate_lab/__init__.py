"""Replays arrivals through the product's own decisions, and through what one would run instead."""
