"""Which servers can be trusted with requests: what probes say, what traffic says, and what follows from both."""
