"""The shell of every page: templates, navigation, formats, static files."""
