"""What the boards cost a browser: boards_browser.py RUN SECONDS PID ssh OPTIONS... rollcall

RUN is a run of many hosts, SECONDS how long an output of 1,000 lines a second is followed, PID the daemon. Prints one line for
each measurement, with the number of the requirement that it belongs to (docs/measured.md)."""

import json
import socket
import statistics
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright

RUN, SECONDS, PID, SSH = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4:]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--js-flags=--expose-gc"]
CHANGES = 40
SLOW = {"offline": False, "latency": 300, "downloadThroughput": 256_000 / 8, "uploadThroughput": 256_000 / 8}
TIMES = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return {paint: paint ? paint.startTime : null, load: page.loadEventEnd, nodes: document.querySelectorAll("*").length,
          server: page.serverTiming.map(one => one.duration)[0]};
}"""


def line(*words):
    done = subprocess.run([*SSH, *words], capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, check=False)
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Forward:
    """A forwarded port, over a connection of its own."""

    def __enter__(self):
        self.port = free_port()
        words = [*SSH[:-1], "-N", "-L", f"{self.port}:rollcall:80", SSH[-1]]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        return self

    def enter(self, browser, **options):
        """A context of the browser that may read the boards; its base."""
        context = browser.new_context(**options)
        page = context.new_page()
        link = json.loads(line("web", "--port", str(self.port), "--json").splitlines()[0])["link"]
        for _ in range(100):
            try:
                page.goto(link)
                break
            except Exception:
                time.sleep(0.1)
        base = page.url.rstrip("/")
        page.close()
        return context, base

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def loaded(context, url, cpu=1, network=None):
    """Opens a page in a new tab, with nothing in the cache; times, nodes, requests and bytes on the wire."""
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": cpu})
    if network:
        devtools.send("Network.emulateNetworkConditions", network)
    wire = {}
    devtools.on("Network.loadingFinished", lambda one: wire.__setitem__(one["requestId"], one["encodedDataLength"]))
    page.goto(url, wait_until="load")
    page.wait_for_timeout(300)
    seen = page.evaluate(TIMES)
    page.close()
    return {**seen, "requests": len(wire), "kilobytes": round(sum(wire.values()) / 1024, 1)}


def cost_of_a_run(browser, forward):
    context, base = forward.enter(browser)
    for name, url in (("folded", f"{base}/runs/{RUN}"), ("all rows", f"{base}/runs/{RUN}?rows=all")):
        rounds = [loaded(context, url) for _ in range(5)]
        middle = {key: round(statistics.median(one[key] or 0 for one in rounds), 1) for key in rounds[0]}
        print(f"W1 page of run {RUN}, {name}: {middle}")
    print(f"W1 the same, processor at a quarter: {loaded(context, f'{base}/runs/{RUN}', cpu=4)}")
    print(f"W1 the same, 256 kbit/s and 300 ms: {loaded(context, f'{base}/runs/{RUN}', network=SLOW)}")
    context.close()


def from_event_to_pixel(browser, forward):
    context, base = forward.enter(browser)
    page = context.new_page()
    page.goto(f"{base}/runs")
    page.evaluate("""() => {
      window.seen = {};
      const look = () => {
        for (const link of document.querySelectorAll('a[href^="/runs/"]')) {
          const run = (link.getAttribute("href").match(/^\\/runs\\/(\\d+)/) || [])[1];
          if (run && !(run in window.seen)) window.seen[run] = Date.now();
        }
      };
      look();
      new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
    }""")
    before = int(RUN)
    for _ in range(CHANGES):
        line("run", "lb1", "--", "true")
    page.wait_for_timeout(2_000)
    seen = {int(run): at for run, at in page.evaluate("window.seen").items()}
    began = {}
    for text in line("events", "--json").splitlines():
        event = json.loads(text)
        if event.get("type") == "run-started" and event["run"] > before:
            at = time.mktime(time.strptime(event["at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
            began[event["run"]] = (at + float("0." + event["at"][20:].rstrip("Z") or "0")) * 1_000
    late = sorted(seen[run] - at for run, at in began.items() if run in seen)
    if late:
        print(f"W3 from a run's first event to the page, {len(late)} of {len(began)}: "
              f"median {statistics.median(late):.0f} ms, p95 {late[int(len(late) * 0.95) - 1]:.0f} ms")
    context.close()


def following(browser, forward):
    context, base = forward.enter(browser)
    words = "i=0; while :; do i=$((i + 100)); seq $((i - 99)) $i; sleep 0.1; done"
    writer = subprocess.Popen([*SSH, "run", "lb1", "--", words], stdout=subprocess.DEVNULL, stdin=subprocess.PIPE)
    time.sleep(2)
    run = json.loads(line("runs", "--last", "1", "--json").splitlines()[0])["run"]
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    page.goto(f"{base}/runs/{run}/hosts/lb1/steps/1")
    sizes = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        devtools.send("HeapProfiler.collectGarbage")
        counters = devtools.send("Memory.getDOMCounters")
        heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
        sizes.append((heap, counters["nodes"]))
        page.wait_for_timeout(2_000)
    shown = page.locator("div.log li").count()
    writer.terminate()
    line("cancel", str(run), "--now")
    writer.wait()
    print(f"W4 an output of 1,000 lines a second, followed for {SECONDS:.0f} s: heap {sizes[0][0] / 1e6:.1f} to "
          f"{max(size for size, _ in sizes) / 1e6:.1f} MB, at most {max(nodes for _, nodes in sizes)} nodes, {shown} lines shown")
    context.close()


def many_tabs(browser, forward):
    context, base = forward.enter(browser)
    for _ in range(10):
        context.new_page().goto(f"{base}/runs/{RUN}")
    page = context.new_page()
    start = time.monotonic()
    page.goto(f"{base}/runs/{RUN}")
    print(f"W5 the eleventh tab: {(time.monotonic() - start) * 1_000:.0f} ms")
    context.close()


with sync_playwright() as playwright, Forward() as forward:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=OPTIONS)
    for measure in (cost_of_a_run, from_event_to_pixel, following, many_tabs):
        try:
            measure(browser, forward)
        except Exception as error:
            print(f"{measure.__name__}: {error}")
    browser.close()
