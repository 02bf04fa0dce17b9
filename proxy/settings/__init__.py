"""Reads what an operator wrote (a file, flags) into frozen values, or says everything that is wrong with it.

Not for workers: importing it costs pydantic and PyYAML.
"""

from proxy.settings.differences import differences_needing_upgrade
from proxy.settings.load import from_urls, load_bytes, load_file
from proxy.settings.running import running_document
from proxy.settings.values import AdminSettings, Settings, Token

__all__ = [
    "AdminSettings", "Settings", "Token", "differences_needing_upgrade", "from_urls", "load_bytes", "load_file",
    "running_document",
]
