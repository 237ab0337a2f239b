"""The project's tests, as the areas. Every process that they start may keep its bytecode.

Some containers forbid that, and each start of TensorFlow would compile it anew, for ten seconds.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
