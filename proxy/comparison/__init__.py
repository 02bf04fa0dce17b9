"""The comparer: a process that compares what the workers were answered, so that no request waits for a comparison."""
