"""What is done when more comes than can be served: who waits, who goes, and how much is let in at once."""
