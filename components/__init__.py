"""The pipeline's components, one file each: typed inputs and outputs, and one call into the library."""
