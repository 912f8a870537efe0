"""The one exception that is meant for the person at the terminal."""


class PreflowError(Exception):
    """Something the user can fix: one line that says what is wrong, where, and what to do.

    Settings stand in backticks under the library's name, as in "`batch_size` must be 1 or more": a launcher or command
    line puts the option that the user typed in their place.

    Command lines print the message alone and exit with 1; any other exception is a defect and keeps its traceback.
    """
