"""What the tests share that run on both runtimes."""


def raised(kind, function, *arguments, **keywords):
    """The exception of class `kind` that the call must raise; its text is what `str` gives."""
    try:
        result = function(*arguments, **keywords)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} but {result!r}")
