"""The HTTP application that operators and probes ask."""
