# What is frozen into a firmware, for MicroPython's builds: FROZEN_MANIFEST, or include() from a board's manifest.
#
# The package otalink, and nothing else. A frozen boot.py would run in the place of /boot.py, which an update replaces,
# so the boot guard's three files (firmware/guard) always stay files in the root of the flash.
# A version given here would be added to every module as a line of its own: it is otalink.__version__ alone.
metadata(description="Updates from an FTP server, and a link to a host", license="MIT")
package("otalink", opt=3)
