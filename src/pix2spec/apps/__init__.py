"""Programs for people: the command line and the web page."""
