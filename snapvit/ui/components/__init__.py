"""What Streamlit has no widget for, drawn in the browser: the live slider, the moving map, pictures to click,
clicks on heat maps, and buttons that save a figure or copy the link."""

UNSEEN = "unseen_"  # how the keys of those begin that show nothing; `glossary.STYLE` gives them no room
