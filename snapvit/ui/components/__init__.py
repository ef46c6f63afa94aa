"""What Streamlit has no widget for, drawn in the browser: the live slider, the moving map, pictures to click,
clicks on heat maps, and buttons that save a figure or copy the link."""
