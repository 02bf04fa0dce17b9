"""The servers of a version as one worker sees them: who takes the next request, who is out, who waits for a place."""
