"""What a boot.py must begin with on a board that updates itself. Pure; docs/update.md is its specification."""


def calls_guard(source: str) -> bool:
    """True when the first thing that the boot.py with this source does is to call the boot guard, as otalink's own."""
    return statements(source)[:3] == ["try:", "import otaguard", "otaguard.boot()"]


def statements(source: str) -> list[str]:
    """The lines of `source` that say something, without their indentation: comments and empty lines do not."""
    lines = [line.strip() for line in source.split("\n")]
    return [line for line in lines if line and not line.startswith("#")]
