"""What the example application shows."""

GREETING = "says hello"
