"""A browser for `python3 -m webbrowser`: takes the drawn picture, and tells what is framed.

Usage: first_visit.py FILE URL; the labels of the boxes go into FILE, one a line.
"""

import sys
from pathlib import Path

from tests.support.browser import browsing


def main() -> None:
    """Visit the page."""
    told, url = sys.argv[1:]
    with browsing() as browser:
        page = browser.new_page()
        page.goto(url)
        page.locator(".pane select").first.select_option("detector")
        page.get_by_role("button", name="Use a drawn one").click()
        page.locator(".box").first.wait_for()
        Path(told).write_text("\n".join(page.locator(".box").all_inner_texts()))


if __name__ == "__main__":
    main()
