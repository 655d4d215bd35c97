"""Photographs over HTTP: bytes → one bounded queue → the network → people, and a page to see."""
