"""The one exception that is meant for the person at the terminal."""


class PreflowError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do.

    Command lines print the message alone and exit with 1; any other exception is a defect and keeps its traceback.
    """
