"""`python -m dbml`: the command line."""

from dbml.cli import main

main()
