"""The command line: words to objects, and commands that call the library."""
