"""What an operator can say, and the one way by which it happens."""
