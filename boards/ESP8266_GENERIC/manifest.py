# Freezes otalink into MicroPython for ESP8266_GENERIC, with all that is frozen there anyway. In its ports/esp8266:
# make BOARD=ESP8266_GENERIC FROZEN_MANIFEST=<this file's absolute path>
include("$(BOARD_DIR)/manifest_2MiB.py")
include("../../firmware/manifest.py")
