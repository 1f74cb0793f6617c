"""The story as a picture: a ladder of text for terminals, SVG for pages and export."""
