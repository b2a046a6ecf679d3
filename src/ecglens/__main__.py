"""`python -m ecglens` is `ecglens`."""

from ecglens.cli import main

main()
