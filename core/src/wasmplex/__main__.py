"""``python -m wasmplex``: the command, where its script is not on the path."""

from wasmplex.cli import main

if __name__ == "__main__":
    main()
