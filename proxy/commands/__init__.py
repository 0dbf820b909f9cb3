"""The commands of `kuro`, a room each. `proxy.__main__` has the table of them."""
