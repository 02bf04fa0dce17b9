"""One supervisor after another: handed over in an upgrade, or found after a death."""
