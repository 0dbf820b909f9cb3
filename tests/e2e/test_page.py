"""The admin page in a real headless Chromium: what a person clicks, types and sees. `make page` runs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.e2e.kuro import ADMIN, PATIENCE, Kuro, model, write_config
from tests.e2e.test_adapt import configured as adapting
from tests.e2e.test_adapt import moved
from tests.e2e.test_orders import until
from tests.stub import StubUpstream, fail, ok

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PICTURES = os.environ.get("KURO_PICTURES")
"""A folder for screenshots, for who wants to look at them."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium here: `make page` installs Debian's"),
]


class Page:
    """The page in a browser."""

    def __init__(self, browser: Chrome, proxy: Kuro) -> None:
        self.browser = browser
        self.proxy = proxy

    def open(self) -> None:
        self.browser.get(f"http://127.0.0.1:{self.proxy.port}/admin/")

    def enter(self, key: str = ADMIN) -> None:
        self.the("#key").send_keys(key, Keys.ENTER)

    def the(self, selector: str) -> WebElement:
        """The element, when it can be seen."""
        return self.until(lambda: next((e for e in self.all(selector) if e.is_displayed()), None))

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def button(self, text: str, within: str = "body") -> WebElement:
        path = f".//button[normalize-space()='{text}']"
        return self.until(
            lambda: next(
                (e for e in self.the(within).find_elements(By.XPATH, path) if e.is_displayed()), None
            )
        )

    def says(self, selector: str, text: str) -> str:
        """Waits until the element says it; all that it says."""
        return self.until(
            lambda: (said := self.the(selector).text) if text in self.the(selector).text else None
        )

    def until(self, holds: Callable[[], Any]) -> Any:
        wait = WebDriverWait(self.browser, PATIENCE, 0.05)
        return wait.until(lambda _: _calmly(holds), "it never came to that")

    def picture(self, name: str) -> None:
        if PICTURES:
            self.browser.save_screenshot(str(Path(PICTURES) / f"{name}.png"))

    def complaints(self) -> list[str]:
        """What the console holds, refusals that were provoked apart."""
        entries = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def _calmly(holds: Callable[[], Any]) -> Any:
    """An element may go while it is looked at: the page draws itself anew."""
    from selenium.common.exceptions import StaleElementReferenceException

    try:
        return holds()
    except StaleElementReferenceException:
        return None


def options(*more: str) -> ChromeOptions:
    chosen = ChromeOptions()
    chosen.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", *more,
    ):  # fmt: skip
        chosen.add_argument(argument)
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return chosen


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Chrome]:
    more = getattr(request, "param", ("--window-size=1280,900",))
    with Chrome(options(*more), Service(DRIVER)) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def proxy(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    stub.script("one", ok("Hello from the lighthouse."))
    stub.script("two", ok("Hello from two."))
    stub.script("down", fail(500))
    config = write_config(
        tmp_path_factory.mktemp("page"),
        stub.url,
        [
            model("one", weights={"quality": 0.9, "latency": 0.8}),
            model("two", price={"input": 9.0, "output": 30.0}),
            model("down", fallback=["two"]),
        ],
        proxy={"admin_key": ADMIN},
    )
    telemetry = config / "proxy.yml"
    telemetry.write_text(telemetry.read_text().replace("telemetry:\n", "telemetry:\n  baseline: two\n"))
    with Kuro(config) as running:
        for n in range(6):
            running.chat(hello("auto", f"Write a poem about the sea, {n}"), x_request_id=f"poem-{n}")
        running.chat(hello("down"), x_request_id="fell-over")
        yield running


@pytest.fixture
def page(browser: Chrome, proxy: Kuro) -> Iterator[Page]:
    opened = Page(browser, proxy)
    opened.open()
    yield opened
    assert opened.complaints() == []
    proxy.reset()


def hello(name: str, text: str = "Hello there") -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": text}]}


def test_without_the_key_nothing_is_shown_and_a_wrong_one_is_refused(page: Page) -> None:
    assert "Admin key" in page.the("#door").text and not page.the("body").find_elements(
        By.CSS_SELECTOR, "tbody tr"
    )
    page.enter("sk-wrong")
    page.says("#door-said", "not the admin key")
    assert "401" in "".join(page.complaints())
    assert page.browser.execute_script("return sessionStorage.length + localStorage.length") == 0


def test_calls_come_as_they_happen_and_one_tells_why(page: Page) -> None:
    page.enter()
    page.says("#call-table", "poem-5")
    assert not page.all("tr.new")
    page.proxy.chat(hello("auto", "Explain quicksort to me"), x_request_id="just-now")
    page.says("#call-table tbody tr.new", "just-now")
    page.picture("calls")
    page.the('tr[data-id="fell-over"]').click()
    told = page.says("#call-body", "Attempts")
    assert "down · failed · server_error · 500" in told and "two · ok" in told
    page.the("[data-close]").click()
    page.the('tr[data-id="just-now"]').send_keys(Keys.ENTER)
    told = page.says("#call-body", "Scores")
    assert "quality 0." in told and "cost 0." in told  # in words, for who can't point at a bar
    assert ("Ladder" in told and "scoring: " in told and "1. one" in told.replace("\n", " ")) or "one" in told
    page.picture("call")


def test_filters_and_pause(page: Page) -> None:
    page.enter()
    page.says("#call-table", "poem-5")
    page.the('input[name="request_id"]').send_keys("fell")
    page.until(lambda: len(page.all("#call-table tbody tr")) == 1)
    Select(page.the('select[name="outcome"]')).select_by_visible_text("refused")
    page.says("#calls-said", "No calls yet that fit")
    page.button("Pause").click()
    assert page.button("Go on").get_attribute("aria-pressed") == "true"


def test_models_and_their_circuits(page: Page) -> None:
    page.enter()
    page.the("#tab-models").click()
    page.says('[data-model="one"]', "● closed")
    assert "success, last hour: 100 %" in page.the('[data-model="one"]').text
    page.button("Open", '[data-model="one"]').click()
    page.says('[data-model="one"]', "○ open")
    assert page.proxy.circuit("one")["state"] == "open"
    card = page.says('[data-model="one"]', "forced by")
    assert "admin" in card and "asked again in" not in card, "forced, it is not asked again by itself"
    page.picture("models")
    page.button("Reset", '[data-model="one"]').click()
    page.says('[data-model="one"]', "● closed")


def test_a_circuit_that_opened_by_itself_says_why(page: Page, stub: StubUpstream) -> None:
    stub.script("down", fail(401), fail(500))
    page.proxy.chat(hello("down"))
    page.enter()
    page.the("#tab-models").click()
    card = page.says('[data-model="down"]', "our key was refused")
    assert "asked again in" in card
    page.picture("open")


def test_a_named_model_is_not_told_of_in_zeros(page: Page) -> None:
    page.proxy.chat(hello("one"), x_request_id="by-name")
    page.enter()
    page.says("#call-table", "by-name")
    page.the('tr[data-id="by-name"]').click()
    assert "prompt tokens" not in page.says("#call-body", "Plan, by explicit")


def test_a_model_is_taken_out_of_service_and_put_back(page: Page) -> None:
    page.enter()
    page.the("#tab-models").click()
    page.button("Disable for 1 h", '[data-model="one"]').click()
    told = page.says('[data-model="one"]', "disabled until")
    assert "by hand, on the page" in told
    assert page.proxy.chat(hello("one"))[0] == 503
    page.button("Enable", '[data-model="one"]').click()
    page.button("Disable for 1 h", '[data-model="one"]')
    assert page.proxy.chat(hello("one"))[0] == 200


def test_spend(page: Page) -> None:
    page.enter()
    page.the("#tab-spend").click()
    figures = page.says("#spend-figures", "saved")
    assert "$" in figures and page.the("#spend-chart svg").is_displayed()
    assert "two" in page.the("#spend-table").text
    page.picture("spend")


def test_what_is_unknown_is_not_nothing(browser: Chrome, stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("only", ok("Hello."))
    config = write_config(tmp_path, stub.url, [model("only")], proxy={"admin_key": ADMIN})
    with Kuro(config) as proxy:
        proxy.chat(hello("only"), x_request_id="a-call")
        page = Page(browser, proxy)
        page.open()
        page.enter()
        page.the('tr[data-id="a-call"]').click()
        page.says("#call-body", "unknown: telemetry.baseline was not set")
        page.the("[data-close]").click()
        page.the("#tab-spend").click()
        assert "unknown\nsaved: set telemetry.baseline" in page.says("#spend-figures", "saved")
        page.picture("unknown")
        assert page.complaints() == []


def test_each_worker_is_shown_and_what_was_learned_can_be_forgotten(
    browser: Chrome, stub: StubUpstream, tmp_path: Path
) -> None:
    stub.script("second", ok("Here."))
    stub.script("first", ok("Here."))
    with Kuro(adapting(stub, tmp_path), "--workers", "2") as proxy:
        until(lambda: moved(proxy), lambda workers: len(workers) == 2)
        stub.script("first", fail(500))
        until(lambda: (proxy.chat(hello("auto")), moved(proxy))[1], all)
        page = Page(browser, proxy)
        page.open()
        page.enter()
        page.the("#tab-models").click()
        page.says('[data-model="first"]', "success −0.")
        assert "Forget what was learned" not in page.the('[data-model="second"]').text
        page.the('[data-model="first"] summary').click()
        told = page.says('[data-model="first"] details', "worker 1")
        assert "worker 2" in told and told.count("● closed") == 2 and told.count("learned success −0.") == 2
        page.picture("workers")
        page.button("Forget what was learned", '[data-model="first"]').click()
        page.until(lambda: "−0." not in page.the('[data-model="first"]').text)
        assert moved(proxy) == [{}, {}]
        page.the('[data-model="first"] details dl')  # it stays open when it is drawn anew
        assert page.complaints() == []


def test_the_playground_explains_and_sends(page: Page) -> None:
    page.enter()
    page.the("#tab-play").click()
    page.until(lambda: len(page.all("#ask option")) > 4)
    page.the("#prompt").send_keys("Write a Python function that merges two sorted lists")
    page.button("Explain").click()
    told = page.says("#decision", "Plan, by score")
    assert "code_generation" in told and "Left out" not in told
    page.button("Send").click()
    page.says("#answer", "Hello from the lighthouse.")
    assert "one · ok" in page.says("#answer", "Attempts")
    page.picture("playground")


def test_by_the_keyboard_alone(page: Page) -> None:
    page.enter()
    page.says("#call-table", "poem-5")
    active = page.browser.switch_to
    page.the("#tab-calls").send_keys(Keys.ARROW_RIGHT)
    assert active.active_element.get_attribute("id") == "tab-models"
    active.active_element.send_keys(Keys.ARROW_LEFT)
    page.the("#call-table")
    active.active_element.send_keys(Keys.TAB)
    seen = set()
    for _ in range(20):
        focused = active.active_element
        seen.add(focused.get_attribute("name") or focused.get_attribute("id") or focused.tag_name)
        if focused.tag_name == "tr":
            focused.send_keys(Keys.ENTER)
            break
        focused.send_keys(Keys.TAB)
    assert {"leave", "model", "pause", "tr"} <= seen
    page.the("#call-body")
    active.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.the("body").find_element(By.ID, "call").is_displayed())


def test_nothing_is_kept_but_the_key_of_this_tab(page: Page) -> None:
    page.enter()
    page.says("#call-table", "poem-5")
    script = "return [Object.keys(sessionStorage), localStorage.length, document.cookie]"
    assert page.browser.execute_script(script) == [["kuro-admin-key"], 0, ""]
    page.browser.refresh()
    page.says("#call-table", "poem-5")
    page.the("#leave").click()
    page.the("#door")
    assert page.browser.execute_script(script) == [[], 0, ""]


@pytest.mark.parametrize(
    "browser",
    [
        pytest.param(("--window-size=1280,900", "--blink-settings=preferredColorScheme=0"), id="dark"),
        pytest.param(("--window-size=390,844",), id="a phone"),
    ],
    indirect=True,
)
def test_everything_fits_and_can_be_read(page: Page, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    page.enter()
    page.says("#call-table", "ok")
    edge = "return document.querySelector('#call-table td.good').getBoundingClientRect().right <= innerWidth"
    assert page.browser.execute_script(edge), "how calls ended can't be seen without scrolling"
    for view in ("calls", "models", "spend", "play"):
        page.the(f"#tab-{view}").click()
        page.the(f"#{view}")
        if view == "play":
            page.the("#prompt").send_keys("Tell me a joke")
            page.button("Explain").click()
            page.says("#decision", "Plan")
        page.picture(f"{name}-{view}")
        wide = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{view} is wider than its window"
