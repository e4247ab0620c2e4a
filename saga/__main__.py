"""``python -m saga`` is the command ``saga``."""

from saga.cli import main

if __name__ == "__main__":
    main()
