"""The smaller model out of the door: written, proven in a process of its own, and read again without this package."""
