# Freezes otalink into MicroPython for UNIX, with all that is frozen there anyway. In its ports/unix:
# make VARIANT=standard FROZEN_MANIFEST=<this file's absolute path>
include("$(PORT_DIR)/variants/standard/manifest.py")
include("../../firmware/manifest.py")
