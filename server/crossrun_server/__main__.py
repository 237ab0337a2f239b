"""The command `crossrun-serve`: one line where there is no build of onnxruntime."""

from crossrun_server import distribution


def main() -> None:
    """Run the command line of `cli`, if what it needs is installed."""
    try:
        from crossrun_server import cli  # noqa: PLC0415 - what it lacks is told in one line
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"crossrun-serve: needs {error.name}, which is not installed: "
            f"install {distribution.the_extra('cpu')}"
        ) from error
    cli.main()


if __name__ == "__main__":
    main()
