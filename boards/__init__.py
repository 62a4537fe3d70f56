"""What differs from board to board, as data: a folder each, with board.toml and manifest.py. There is no code here."""
