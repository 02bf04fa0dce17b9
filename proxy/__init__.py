"""Turnout: a reverse proxy that moves live traffic from an old version of a service to a new one, and back."""

__version__ = "0.1.0"
