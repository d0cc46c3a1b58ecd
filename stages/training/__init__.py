"""What a training is fed with."""
