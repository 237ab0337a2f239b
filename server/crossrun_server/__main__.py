"""The command `crossrun-serve`; without a build of onnxruntime it says so in a line."""

from crossrun_server import distribution


def main() -> None:
    """Run the command line of `cli`, if what it needs is installed."""
    try:
        from crossrun_server import cli  # noqa: PLC0415 - to say in a line what is missing
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"crossrun-serve: needs {error.name}, which is not installed: "
            f"install {distribution.the_extra('cpu')}"
        ) from error
    cli.main()


if __name__ == "__main__":
    main()
