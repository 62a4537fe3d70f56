"""Secrets that do not stand in the settings: an object there says where. See board.py.

    {"env": "OTALINK_PASSWORD"}     an environment variable, on the Unix port
    {"nvs": "otalink/ftp"}          on an ESP32, the blob under the key ftp in the NVS namespace otalink

What is read is never printed, nor put into an error.
"""

_MAX = 256


def is_reference(value):
    """Whether a value of the settings is such an object, well formed."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((place, name),) = value.items()
    if not isinstance(name, str) or not name:
        return False
    if place == "nvs":
        namespace, _, key = name.partition("/")
        # ESP-IDF takes 15 characters of each.
        return 0 < len(namespace) < 16 and 0 < len(key) < 16 and "/" not in key
    return place == "env"


def check(setting, value):
    """Raises ValueError unless `value`, of the `setting`, is such an object."""
    if not is_reference(value):
        raise ValueError(f'{setting} must be text, or say where it is: {{"env": "NAME"}} or {{"nvs": "NAMESPACE/KEY"}}')


def resolve(setting, value):
    """The text that `value`, a reference, stands for; any other value as it is.

    Raises ValueError, one line with the `setting` (such as "wifi.password") and the place, when there is none.
    """
    if not isinstance(value, dict):
        return value
    check(setting, value)
    ((place, name),) = value.items()
    found = _of_environment(setting, name) if place == "env" else _of_nvs(setting, name)
    if not found:
        raise ValueError(f"{setting}: {place} {name} is not there: put the secret there")
    return found


def _of_environment(setting, name):
    import os

    if not hasattr(os, "getenv"):
        raise ValueError(f"{setting}: this board has no environment variables: env {name} is for the Unix port")
    return os.getenv(name)


def _of_nvs(setting, name):
    try:
        from esp32 import NVS
    except ImportError:
        raise ValueError(f"{setting}: this board has no NVS: nvs {name} is for an ESP32")
    namespace, _, key = name.partition("/")
    buffer = bytearray(_MAX)
    try:
        count = NVS(namespace).get_blob(key, buffer)
    except OSError:
        return None
    try:
        return bytes(memoryview(buffer)[:count]).decode()
    except UnicodeError:
        raise ValueError(f"{setting}: nvs {name} is no text in UTF-8: put it there as bytes of text")
