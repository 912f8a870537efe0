"""Data that ships with the library: prompts and example feedback. README.md says where they come from."""
