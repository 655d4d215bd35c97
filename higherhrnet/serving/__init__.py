"""The HTTP service: images → one bounded queue → network → poses, and a web page."""
