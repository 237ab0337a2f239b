"""The command `crossrun`."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # errors are told in one line

from crossrun_client.cli import main

if __name__ == "__main__":
    main()
