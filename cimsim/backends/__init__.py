"""What runs a product: backends beside the Numba tile, with its physics and its addresses.

Each is a package of its own, imported by whoever asks for it by name: `cimsim.backends.torch`.
"""
