"""`python -m homeport` is `homeport`."""

from homeport.cli import main

main()
