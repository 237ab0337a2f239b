"""The page in a real browser, which asks a real server."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support import access, detectors, models
from tests.support.browser import browsing
from tests.support.pictures import ORIENTATION, boxes, encoded, plain, scene
from tests.support.rest import ask
from tests.support.running import HTTP, Server, serving

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SIZE = (640, 480)
SCENE = encoded(scene(SIZE))
EVIL = "<img src=x onerror=document.title='harmed'>"
VIOLATIONS = "addEventListener('securitypolicyviolation', e => console.error('CSP', e.blockedURI))"
HANDED = """([type, name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
    const event = type === "paste"
        ? new ClipboardEvent(type, {clipboardData: data, bubbles: true, cancelable: true})
        : new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
    document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and two classifiers."""
    root = tmp_path_factory.mktemp("paged")
    models.write(
        root, "finder", detectors.finder(), detectors.FINDER + detectors.OPTIONS, detectors.LABELS
    )
    for name, labels in {"colours": ["red", "green", "blue"], "evil": [EVIL, "b", "c"]}.items():
        models.write(root, name, models.colours(), models.COLOURS_CONFIG, labels)
    return root


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(repository, tmp_path_factory.mktemp("log") / "log", *HTTP) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A page of its own; nothing may go wrong on it, and no request may leave the machine."""
    context = browser.new_context(permissions=["camera", "clipboard-read", "clipboard-write"])
    context.add_init_script(VIOLATIONS)
    page, wrong, hosts = context.new_page(), list[str](), set[str | None]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield page
    context.close()
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []
    assert hosts <= {"127.0.0.1", None}  # blob: has no host


@pytest.fixture
def page(blank: Page, server: Server) -> Page:
    """The page, with the models on it."""
    return opened(blank, server)


def opened(page: Page, server: Server) -> Page:
    page.goto(server.http)
    expect(page.locator("#models .card")).to_have_count(3)
    return page


def choose(page: Page, content: bytes, model: str = "", name: str = "scene.png") -> None:
    if model:
        page.locator(".pane select").first.select_option(model)
    page.set_input_files(
        "#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def drawn(page: Page) -> list[list[float]]:
    """The boxes on the picture, in shares of its sides: left, top, right, bottom."""
    expect(page.locator(".box").first).to_be_visible()
    whole: Any = page.locator(".frame img").first.bounding_box()
    found = []
    for one in page.locator(".box").all():
        box: Any = one.bounding_box()
        left, top = (
            (box["x"] - whole["x"]) / whole["width"],
            (box["y"] - whole["y"]) / whole["height"],
        )
        right, bottom = left + box["width"] / whole["width"], top + box["height"] / whole["height"]
        found.append([left, top, right, bottom])
    return found


def answered(server: Server, content: bytes) -> list[list[float]]:
    """The boxes that Detect tells of, in the same shares."""
    answer = ask(server, "POST", "/v1/vision/detect?model=finder", content)
    (result,) = answer.json["results"]
    width, height = result["width"], result["height"]
    corners = [one["box"] for one in result["detections"]]
    return [
        [b["xmin"] / width, b["ymin"] / height, b["xmax"] / width, b["ymax"] / height]
        for b in corners
    ]


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_picture_is_dropped_or_pasted(page: Page, way: str) -> None:
    """A picture that is dropped or pasted is classified, and the time is told in its parts."""
    page.locator(".pane select").first.select_option("colours")
    page.evaluate(HANDED, [way, "red.png", list(plain(255, 0, 0))])
    first = page.locator(".found li").first
    expect(first).to_contain_text("red")
    expect(first).to_contain_text("100.0 %")
    for part in ("decode", "queue", "compute"):
        expect(page.locator(f".word.{part}").first).to_contain_text("ms")


def test_camera_takes_a_picture(page: Page) -> None:
    """A picture of the camera is classified, and the camera is let go."""
    page.get_by_role("button", name="Use the camera").click()
    shoot = page.get_by_role("button", name="Take the picture")
    expect(shoot).to_be_focused()
    shoot.click()
    expect(page.locator(".found li").first).to_be_visible()
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_who_has_no_picture_takes_the_drawn_one(page: Page) -> None:
    """One click asks the model about a picture that comes with the page."""
    page.locator(".pane select").first.select_option("colours")
    page.get_by_role("button", name="Use a drawn one").click()
    expect(page.locator(".found li").first).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_boxes_lie_on_the_objects(page: Page, server: Server, width: int) -> None:
    """Boxes lie where Detect says, and where the objects are, on a wide and a narrow screen."""
    page.set_viewport_size({"width": width, "height": 800})
    choose(page, SCENE, "finder")
    told = answered(server, SCENE)
    for ours, theirs in zip(drawn(page), told, strict=True):
        assert ours == pytest.approx(theirs, abs=0.01)
    real = [[x / SIZE[0], y / SIZE[1], r / SIZE[0], b / SIZE[1]] for x, y, r, b in boxes(SIZE)]
    for ours, theirs in zip(sorted(drawn(page)), sorted(real), strict=True):
        assert ours == pytest.approx(theirs, abs=0.05)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_turned_photograph_has_its_boxes_on_the_objects(page: Page, server: Server) -> None:
    """The box of what is red lies on red pixels, though EXIF turns the photograph."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = encoded(scene(SIZE), "JPEG", exif=exif, quality=95)
    choose(page, turned, "finder")
    for ours, theirs in zip(drawn(page), answered(server, turned), strict=True):
        assert ours == pytest.approx(theirs, abs=0.01)
    box: Any = page.locator(".box", has_text="red").first.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB").getpixel(middle)
    assert isinstance(shown, tuple)
    assert shown[0] > 200
    assert max(shown[1:]) < 60


def test_error_has_the_words_of_the_server(page: Page, server: Server) -> None:
    """A file that is no picture gets the server's own words, and the next picture is answered."""
    choose(page, b"no picture", "colours", "notes.txt")
    told = ask(server, "POST", "/v1/vision/classify?model=colours", b"no picture").json["error"]
    expect(page.locator(".error:visible")).to_have_text(told)
    choose(page, plain(0, 0, 255))
    expect(page.locator(".found li").first).to_contain_text("blue")
    expect(page.locator(".error:visible")).to_have_count(0)


def test_two_models_side_by_side(page: Page) -> None:
    """The same picture on two models is answered by each."""
    choose(page, SCENE, "finder")
    page.get_by_role("button", name="Compare two models").click()
    second = page.locator(".pane").nth(1)
    second.get_by_label("Model").select_option("colours")
    expect(second.locator(".found li")).to_have_count(3)
    expect(page.locator(".pane").first.locator(".box")).to_have_count(3)
    expect(second.locator(".box")).to_have_count(0)


def test_labels_and_names_stay_text(page: Page) -> None:
    """A label, or the name of a file, that is HTML is shown as it is written."""
    choose(page, plain(255, 0, 0), "evil", f"{EVIL}.png")
    expect(page.locator(".found .label").first).to_have_text(EVIL)
    expect(page.locator("#lines")).to_contain_text("<img src=x onerror=")
    assert page.title() == "crossrun"


def test_models_tell_what_runs_them(page: Page) -> None:
    """A model's card names the provider and its nodes, and counts its requests."""
    card = page.locator("#models .card", has_text="finder")
    expect(card.locator(".runs")).to_contain_text("nodes")
    expect(card.locator(".badge")).to_have_text("ready")
    choose(page, SCENE, "finder")
    expect(card.locator(".figures")).to_contain_text("request")


def test_lines_of_programs_are_copied(page: Page) -> None:
    """The lines of a program ask the same model, and the button copies them."""
    choose(page, SCENE, "finder")
    for language, words in {"Python": "urllib.request", "grpcurl": "Vision/Detect"}.items():
        page.get_by_label(language, exact=True).check()
        expect(page.locator("#lines")).to_contain_text(words)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#lines").text_content()


def test_keyboard_alone_is_enough(page: Page) -> None:
    """Whoever has a keyboard alone chooses a file, compares, and sees where the focus is."""
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": SCENE})
    expect(page.locator(".found li").first).to_be_visible()
    compare = page.get_by_role("button", name="Compare two models")
    for _ in range(3):
        if compare.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".pane:visible")).to_have_count(2)
    assert compare.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"


def test_dark_where_the_reader_wants_it(page: Page) -> None:
    """The page is dark where the system is."""
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(json.loads(c.replace("rgb(", "[").replace(")", "]"))) for c in colours)
    assert light > 700
    assert dark < 100


def test_token_is_asked_for_and_the_stop_is_told(
    blank: Page, repository: Path, tmp_path: Path
) -> None:
    """A server with tokens is shown after its token is typed, and its end is told."""
    tokens = access.write(tmp_path / "tokens", access.entry("secret", "read", "infer"))
    with serving(repository, tmp_path / "log", *HTTP, "--auth-tokens", str(tokens)) as closed:
        blank.goto(closed.http)
        blank.get_by_label("This server asks for a token.").fill("secret")
        blank.get_by_role("button", name="Use it").click()
        expect(blank.locator("#models .card")).to_have_count(3)
        expect(blank.locator("#token")).to_be_hidden()
        choose(blank, plain(255, 0, 0), "colours")
        expect(blank.locator(".found li").first).to_contain_text("red")
        expect(blank.locator("#lines")).not_to_contain_text("secret")
        assert "secret" not in blank.url
        closed.stop()
    choose(blank, plain(255, 0, 0))
    expect(blank.locator(".error:visible")).to_have_text("The server does not answer.")


def test_page_is_switched_off(repository: Path, tmp_path: Path) -> None:
    """With --no-page there is REST and no page."""
    with serving(repository, tmp_path / "log", *HTTP, "--no-page") as without:
        refused = ask(without, "GET", "/", headers=BROWSER)
        assert refused.status == 404
        assert "--no-page" in refused.json["error"]
        assert ask(without, "GET", "/page/main.js").status == 404
        assert ask(without, "GET", "/v1/placements").status == 200


def test_files_are_sent_once_and_say_what_they_may(server: Server) -> None:
    """A file that a browser has is not sent again; each says that nothing foreign may run."""
    for path in ("/", "/page/main.js", "/page/page.css", "/page/icon.svg"):
        sent = ask(server, "GET", path, headers=BROWSER)
        assert sent.status == 200
        assert "default-src 'none'" in sent.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in sent.headers["content-security-policy"]
        assert sent.headers["x-content-type-options"] == "nosniff"
        assert sent.headers["referrer-policy"] == "no-referrer"
        known = BROWSER | {"if-none-match": sent.headers["etag"]}
        again = ask(server, "GET", path, headers=known)
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("options", [(), ("--no-page",)])
def test_clients_that_want_no_page_are_told_that_the_server_is_alive(
    repository: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """As KServe's first protocol does at /; a cache keeps it apart from the page."""
    with serving(repository, tmp_path / "log", *HTTP, *options) as running:
        for accept in ({}, {"accept": "*/*"}):
            told = ask(running, "GET", "/", headers=accept)
            assert (told.status, told.json) == (200, {"status": "alive"})
            assert "accept" in told.headers["vary"].lower()


def test_providers_over_http(server: Server) -> None:
    """ListProviders and ListPlacements answer over HTTP as they do over gRPC."""
    providers = ask(server, "GET", "/v1/providers").json["providers"]
    assert "cpu" in [one["short_name"] for one in providers if one["available"]]
    (placed,) = ask(server, "GET", "/v1/placements?model=finder").json["placements"]
    assert placed["running"][0]["nodes"] > 0
    assert ask(server, "GET", "/v1/placements?model=nobody").status == 404
