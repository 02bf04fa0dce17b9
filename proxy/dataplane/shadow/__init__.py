"""Copies of requests for another version, whose answers never reach a client."""
