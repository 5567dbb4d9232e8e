"""The golden net: stored results of today's product, and what differs from them."""
