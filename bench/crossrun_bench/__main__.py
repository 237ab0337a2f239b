"""The command `crossrun-bench`: one line where its packages are missing."""

from crossrun_bench import distribution


def main() -> None:
    """Run the command line of `cli`, if what it needs is installed."""
    try:
        from crossrun_bench import cli  # noqa: PLC0415 - what it lacks is told in one line
    except ModuleNotFoundError as error:
        raise SystemExit(f"crossrun-bench: {distribution.missing(error.name, 'bench')}") from error
    cli.main()


if __name__ == "__main__":
    main()
