"""What an array really is, from what it saw: gains, places of its elements, phases behind the channel."""
