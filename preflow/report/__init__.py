"""The report of an evaluation, as an HTML page and in Markdown."""
