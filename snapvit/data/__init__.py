"""Images: where they come from, how they are split, and the views the method takes of them."""
