"""From a ranking to a smaller model: ranking and floors, instant slicing, costs."""
