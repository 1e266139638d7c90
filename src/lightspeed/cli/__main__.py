"""`python -m lightspeed.cli`: the same as `lightspeed`."""

from lightspeed.cli import main

main()
