"""Turnout beside nginx, HAProxy, Envoy, Caddy and an aiohttp program: the same work, on the same machine, in one run.

Invariant: a figure is only compared with a figure of the same round: ratios are taken within rounds, then their median.
"""
