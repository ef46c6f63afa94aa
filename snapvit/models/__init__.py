"""Models: how they are loaded and where their blocks keep neurons and heads."""
