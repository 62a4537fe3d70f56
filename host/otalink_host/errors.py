"""The host's one error for what a user can mend."""


class UserError(Exception):
    """Something that the user can mend: its text is one line, what is wrong and what to do.

    The command line prints it after `otalink: ` and exits with status 1, without a traceback.
    """
