# Freezes otalink into MicroPython for RPI_PICO2_W, with all that is frozen there anyway. In its ports/rp2:
# make BOARD=RPI_PICO2_W FROZEN_MANIFEST=<this file's absolute path>
include("$(BOARD_DIR)/manifest.py")
include("../../firmware/manifest.py")
