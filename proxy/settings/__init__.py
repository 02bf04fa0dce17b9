"""Reads what an operator wrote (a file, flags) into frozen values, or says everything that is wrong with it.

Not for workers: importing it costs pydantic and PyYAML.
"""

from proxy.settings.load import from_urls, load_bytes, load_file
from proxy.settings.values import AdminSettings, Settings, Token

__all__ = ["AdminSettings", "Settings", "Token", "from_urls", "load_bytes", "load_file"]
