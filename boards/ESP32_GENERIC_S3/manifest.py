# Freezes otalink into MicroPython for ESP32_GENERIC_S3, with all that is frozen there anyway. In its ports/esp32:
# make BOARD=ESP32_GENERIC_S3 FROZEN_MANIFEST=<this file's absolute path>
include("$(PORT_DIR)/boards/manifest.py")
include("../../firmware/manifest.py")
