"""Which servers are healthy, as the supervisor knows it: its own probes, what workers notice, what both come to."""
