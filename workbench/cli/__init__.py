"""The command line: arguments to objects, and commands that call the library."""
