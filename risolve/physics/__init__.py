"""The measurement model: geometry, spherical waves, codes, channel, observation, impairments, scenes."""
