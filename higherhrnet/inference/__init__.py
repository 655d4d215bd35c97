"""Images → poses."""
