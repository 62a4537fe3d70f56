"""What lies beside otalink on a board: the boot guard and the boot.py that calls it, which stay .py."""
