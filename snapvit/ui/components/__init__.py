"""What Streamlit has no widget for, drawn in the browser: the live slider, the moving map, clicks on heat maps."""
