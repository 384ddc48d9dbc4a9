"""The brokers that pixelcore ships to: versions, ways to sign in, and what operators do to them, under load. See ``make brokers``."""
