"""What `state_dir` holds: every change with its author, and the state it led to."""
