# Freezes otalink into MicroPython for ESP32_GENERIC, with all that is frozen there anyway. In its ports/esp32:
# make BOARD=ESP32_GENERIC FROZEN_MANIFEST=<this file's absolute path>
include("$(PORT_DIR)/boards/manifest.py")
include("../../firmware/manifest.py")
