"""Programs for a board: `main.py` is all that an application needs to be kept up to date; the demo flashes them."""
