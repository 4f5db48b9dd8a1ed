"""The command line: parse, call one workflow, show, and turn errors into exit codes."""
