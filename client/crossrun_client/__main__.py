"""The command `crossrun`."""


def main() -> None:
    """Run the command."""


if __name__ == "__main__":
    main()
