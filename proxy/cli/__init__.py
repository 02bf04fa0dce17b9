"""The `turnout` command: one module per verb."""
