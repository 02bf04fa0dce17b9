"""The process that compares answers, from the supervisor's side: its life, what it is asked, what it tells."""
