"""The boards in a real Chromium. Arguments: the folder for screenshots, then the words of the ssh client of the operator.

Each block prints its name when it has passed; the test in Rust wants all of them.
"""

import json
import os
import subprocess
import sys
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

SHOTS, PORT, SSH = sys.argv[1], sys.argv[2], sys.argv[3:]
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
PAGES = {
    "fleet": "/", "runs": "/runs", "run": "/runs/1", "hosts": "/runs/1?rows=all", "host": "/runs/1/hosts/web01",
    "step": "/runs/1/hosts/web01/steps/1", "hostile": "/runs/2/hosts/web01/steps/1", "past": "/runs/1?at=9",
    "compared": "/runs/3/steps/1",
    "all of a host": "/hosts/web01", "checks": "/checks", "debts": "/debts", "audit": "/audit",
}
DEADLINE_MS = 60_000


def line(*words):
    done = subprocess.run([*SSH, *words], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


def enter(context):
    """Opens a link, which lets this browser in once; the address of the board."""
    page = context.new_page()
    link = json.loads(line("web", "--port", PORT, "--json").splitlines()[0])["link"]
    page.goto(link)
    base = page.url.rstrip("/")
    page.close()
    return base


def opened(browser, **options):
    context = browser.new_context(**options)
    context.set_default_timeout(DEADLINE_MS)
    return context, enter(context)


def until(page, expression):
    """Waits for an expression to be true. The browser's own way needs `eval`, which the policy of a page forbids."""
    end = time.monotonic() + DEADLINE_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, (page.url, expression, page.inner_text("body"))
        page.wait_for_timeout(50)


def complaints_of(page):
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def every_page_without_script(browser):
    for scheme in ("light", "dark"):
        for width in (320, 768, 1280):
            size = {"width": width, "height": 900}
            context, base = opened(browser, viewport=size, color_scheme=scheme, java_script_enabled=False)
            page = context.new_page()
            for name, path in PAGES.items():
                assert page.goto(base + path).status == 200, path
                assert page.locator("main h1").count() == 1, path
                # Sideways scrolling is a failure of reflow (WCAG 2.2, 1.4.10).
                box = page.locator("main").bounding_box()
                assert box["width"] <= width, (path, width, box)
                page.screenshot(path=f"{SHOTS}/{name.replace(' ', '-')}-{width}-{scheme}.png", full_page=True)
            context.close()
    print("pages without script")


def nothing_to_complain_about(browser):
    for options in ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"},
                    {"viewport": {"width": 320, "height": 900}}):
        context, base = opened(browser, **options)
        page = context.new_page()
        said = complaints_of(page)
        for path in PAGES.values():
            page.goto(base + path)
            found = Axe().run(page).response["violations"]
            short = [(one["id"], one["nodes"][0]["html"]) for one in found]
            assert not short, (path, options, short)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (path, options, wide)
        assert not said, said
        context.close()
    print("axe")


def hostile_output_stays_text(browser):
    context, base = opened(browser)
    page = context.new_page()
    said = complaints_of(page)
    hosts = []
    page.on("request", lambda request: hosts.append(request.url))
    page.goto(base + PAGES["hostile"])
    until(page, "document.querySelectorAll('div.log li').length > 3")
    assert "<script>" in page.inner_text("div.log"), page.inner_text("div.log")
    counts = page.evaluate("[...document.querySelectorAll('img, iframe, object, style, [style], form:not([method=get])')].length")
    assert counts == 0, counts
    assert page.evaluate("document.scripts.length") == 1
    assert all(url.startswith(base) for url in hosts), hosts
    assert not said, said
    context.close()
    print("hostile output")


def a_page_follows_a_run(browser):
    context, base = opened(browser)
    page = context.new_page()
    said = complaints_of(page)
    page.goto(base + "/runs")
    until(page, "document.getElementById('live').textContent.startsWith('live')")
    before = page.locator("tbody tr").count()
    page.evaluate("document.querySelector('tbody th a').focus(); window.known = document.activeElement")
    started = time.monotonic()
    line("touch", "web01")
    until(page, f"document.querySelectorAll('tbody tr').length > {before}")
    shown_ms = round((time.monotonic() - started) * 1000)
    assert page.evaluate("document.activeElement === window.known"), "the focus was lost"
    # The first page has another address for programs.
    page.goto(base + "/")
    until(page, "document.getElementById('live').textContent.startsWith('live')")
    newest = page.inner_text("section:last-of-type tbody tr:first-child th")
    line("touch", "web01")
    until(page, f"document.querySelector('section:last-of-type tbody tr:first-child th').textContent.trim() !== '{newest.strip()}'")
    assert not said, said
    context.close()
    print("a run is followed", shown_ms, "ms with the run itself")


def keys_alone_reach_everything(browser):
    context, base = opened(browser)
    page = context.new_page()
    page.goto(base + "/")
    page.keyboard.press("2")
    page.wait_for_url("**/runs")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    page.keyboard.press("Backspace")
    page.wait_for_url("**/runs")
    page.keyboard.press("?")
    assert "copy the line" in page.inner_text("#keys")
    page.keyboard.press("Shift+K")
    page.keyboard.press("1")
    page.keyboard.press("Shift+K")
    assert page.url.endswith("/runs"), "keys are off"
    page.goto(base + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    context.close()
    print("keys")


def ten_tabs(browser):
    context, base = opened(browser)
    tabs = []
    for path in [*PAGES.values()][:10]:
        tab = context.new_page()
        assert tab.goto(base + path).status == 200, path
        tabs.append(tab)
    eleventh = context.new_page()
    assert eleventh.goto(base + "/debts").status == 200
    for tab in tabs:
        assert "STALE" not in tab.inner_text("#live")
    context.close()
    print("ten tabs")


def a_closed_tunnel_is_said(browser):
    context, base = opened(browser)
    page = context.new_page()
    page.goto(base + "/")
    until(page, "document.getElementById('live').textContent.startsWith('live')")
    context.set_offline(True)
    until(page, "document.getElementById('live').textContent.startsWith('STALE')")
    assert page.locator("main h1").count() == 1, "the page stays readable"
    context.set_offline(False)
    until(page, "document.getElementById('live').textContent.startsWith('live')")
    context.close()
    print("a closed tunnel")


def main():
    os.makedirs(SHOTS, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=OPTIONS)
        every_page_without_script(browser)
        nothing_to_complain_about(browser)
        hostile_output_stays_text(browser)
        a_page_follows_a_run(browser)
        keys_alone_reach_everything(browser)
        ten_tabs(browser)
        a_closed_tunnel_is_said(browser)
        browser.close()
    print("all passed")


main()
