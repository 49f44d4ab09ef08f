#!/usr/bin/env python3
"""drive.py DIST NATIVE SHOTS: uses the page in DIST as people do, in Chromium, with and without WebGPU, and holds
what it computes against the programs `landscape`, `compare` and `bench` in the folder NATIVE. Writes pictures of it to the
folder SHOTS. Further words choose what is tried: race, train, bench, pictures, firefox."""

import json
import os
import re
import subprocess
import sys
import tempfile

import firefox
import timing
import training
from devtools import Browser, find
from serve import serve
from visit import Visit, check, check_width

# Of the setting that is compared: paths that no rounding sends elsewhere.
RULES = "sgd:lr=0.01:momentum=0.8,adam:lr=0.1,rmsprop:lr=0.03,lion:lr=0.01,muon:lr=0.01,adafactor:lr=0.05,newton:lr=0.1"
NOISY = "function=quadratic&rules=sgd:lr=0.01,adam:lr=0.05&start=-4.5,1&steps=300&condition=50&noise=0.5&seed=7&schedule=cosine&warmup=20"


def paths(lines):
    """Of each rule its places by step, in the order of the lines."""
    first = [line for line in lines if line["step"] == 0]
    count = len(first)
    return [(first[index]["rule"], lines[index::count]) for index in range(count)]


def native(program, command, device):
    """What `landscape` writes for the flags of a command that the page names."""
    flags = command.split(" -- ", 1)[1].split()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("--json", "--out"):
            at = flags.index(name)
            del flags[at:at + 2]
        if "--device" not in flags:
            flags += ["--device", device]
        out = os.path.join(folder, "native.jsonl")
        said = subprocess.run([program, *flags, "--json", out, "--quiet"], check=True, capture_output=True, text=True)
        with open(out) as file:
            return [json.loads(line) for line in file], said.stdout.splitlines()[0]


def compare(page, other, tolerance):
    """The largest difference between two races, relative to how far the path goes from zero."""
    check(len(page) == len(other), f"{len(page)} lines, not {len(other)}")
    worst = 0
    for mine, theirs in zip(page, other):
        for key in ("function", "rule", "start", "step", "hyper", "schedule"):
            check(mine[key] == theirs[key], f"{key}: {mine[key]}, not {theirs[key]}, at step {mine['step']}")
        for a, b in zip(mine["x"], theirs["x"], strict=True):
            difference = abs(a - b) / max(1, abs(b))
            worst = max(worst, difference)
            check(difference <= tolerance, f"{mine['rule']} at step {mine['step']}: {mine['x']}, not {theirs['x']}")
    return worst


def falls(lines):
    """Whether the loss of every rule is lower at the end than at the start."""
    return all(places[-1]["value"] < places[0]["value"] for _, places in paths(lines))


def clicks(visit):
    """A rule is chosen, the map clicked, the race run: the paths are there and the losses fall."""
    page = visit.page
    visit.open("")
    check(len(paths(visit.saved())) == 5, "the function's own rules")
    page.choose("#new-rule", "lion")
    visit.rerun(lambda: page.click("#add"))
    visit.rerun(lambda: page.write("#rules li:last-child input[inputmode]", "0.01"))
    visit.rerun(lambda: page.click("#map", 0.75, 0.5))
    start = [float(number) for number in visit.hash().split("start=")[1].split("&")[0].split(",")]
    check(start[0] > 1.5 and -1 < start[1] < 0, f"the click is on the right and below the middle, the start at {start}")
    visit.rerun(lambda: page.click("#run"))
    lines = visit.saved()
    check("lion:lr=0.01" in visit.hash(), f"the rule is in the link: {visit.hash()}")
    check(len(paths(lines)) == 6, "six paths")
    for rule, places in paths(lines):
        check(len(places) == 401, f"{rule} has {len(places)} places")
        check(places[0]["x"] == places[0]["start"] == start, f"{rule} starts there")
        check(len({tuple(place["x"]) for place in places}) > 100, f"{rule} moves")
    check(falls(lines), "the losses fall")
    page.until("document.querySelector('#shown').textContent === 'step 400'", 20)
    drawn = page.eval("""(() => {
        const canvas = document.querySelector("#curves");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let coloured = 0;
        for (let i = 0; i < data.length; i += 4) {
            const [r, g, b, a] = data.slice(i, i + 4);
            if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured += 1;
        }
        return coloured;
    })()""")
    check(drawn > 500, f"{drawn} coloured pixels of curves")
    # Removing it is a race without it.
    visit.rerun(lambda: page.click("#rules li:last-child .head button"))
    check(len(paths(visit.saved())) == 5, "a rule is removed")


def keyboard(visit):
    """Arrows and Enter on the map choose a start as well."""
    visit.open("function=himmelblau&rules=adam:lr=0.1&start=0,0&steps=50")
    page = visit.page
    page.eval("document.querySelector('#map').focus()")
    for _ in range(6):
        page.key("ArrowRight")
    page.key("ArrowUp")
    visit.rerun(lambda: page.key("Enter"))
    start = visit.saved()[0]["start"]
    check(start[0] > 0.5 and 0 < start[1] < start[0], f"the start is {start}")


def links(visit):
    """A link that is opened again gives the same race, to the last bit."""
    visit.open(NOISY)
    check(visit.hash() == NOISY, f"the link is kept: {visit.hash()}")
    first = visit.saved()
    visit.open(visit.hash())
    check(visit.saved() == first, "the same race")
    # A wrong one says so.
    for hash, words in (("function=bealle", "bealle"), ("function=%E0%A4%A", "no text"), ("function=beale&rules=", "No rule takes part"),
                        ("function=beale&rules=adam:lr=x", "expected a finite"),
                        ("function=beale&rules=adam:schedule=cosin", "expected one of constant, step, cosine"),
                        ("function=beale&rules=adam:schedule=exponential", "expected one of constant, cosine, step"), ("function=quadratic&condition=-3", "expected a finite number above 0")):
        visit.open(hash)
        check(words in visit.text("#said"), visit.text("#said"))
    visit.page.open(visit.address + "#function=beale&start=9,9")
    visit.page.until("document.body?.dataset.state === 'failed'")
    check("outside the domain" in visit.text("#said"), visit.text("#said"))


def faults(visit):
    """Numbers that cannot be are refused in words, and the race stays."""
    visit.open("function=beale&rules=adam:lr=0.1&steps=20")
    page = visit.page
    page.write("#rules li input[inputmode]", "-1")
    check("expected" in visit.text(".fault"), visit.text(".fault"))
    page.write("#steps", "0")
    check("expected a whole number from 1" in visit.text("#said"), visit.text("#said"))
    check("lr=0.1&" in visit.hash() and "steps=20" in visit.hash(), visit.hash())


def everyone(visit):
    """All rules at once, of one variable and of two."""
    for function in ("rosenbrock", "cosh"):
        visit.open(f"function={function}&steps=60")
        visit.rerun(lambda: visit.page.click("#all"))
        lines = visit.saved()
        check(len(paths(lines)) == visit.page.eval("document.querySelector('#new-rule').length"), "all rules")
        check(all(len(places) == 61 for _, places in paths(lines)), "all steps")
        moved = [rule for rule, places in paths(lines) if places[-1]["x"] != places[0]["x"]]
        check(len(moved) == len(paths(lines)), f"only {moved} move")


def finds_basins(visit, program, device):
    """As many starts end in each kind of minimum as natively, and the link holds the part as well."""
    visit.open("function=styblinski_tang&rules=adam:lr=0.1,sgd:lr=0.01:schedule=cosine&steps=200")
    page, said = visit.page, "#basins-said"
    done = "document.querySelector('#basins-part').dataset.state !== 'running' && !document.querySelector('#basins-part').hidden"
    page.click("#to-basins")
    page.until(done)
    page.choose("#of", "1")
    page.until(done)
    page.choose("#across", "32")
    page.until(done)
    check(visit.text(said).startswith("1024 starts"), visit.text(said))
    check(visit.hash().endswith("&basins=32&of=1"), visit.hash())
    command = [program, "--function", "styblinski_tang", "--rules", "sgd:lr=0.01:schedule=cosine", "--steps", "200", "--basins", "32",
               "--device", device, "--quiet"]
    other = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shares = [[float(share) for share in re.findall(r"([\d.]+) %", text)] for text in (visit.text(said), other)]
    check(len(shares[0]) == 3 and shares[0] == shares[1], shares)
    check(min(shares[0][:2]) > 10, "there are more basins than one")
    # Two rules may share their basins, but not how soon.
    median = re.search(r"%  +(\d+)$", other, re.MULTILINE).group(1)
    check(re.search(r"at most \d+, (\d+),", visit.text(said)).group(1) == median, f"{visit.text(said)}, not {median}")
    of_minima = page.eval("[...document.querySelectorAll('#minima tbody tr')].map((row) => parseFloat(row.cells[2].textContent))")
    check(len(of_minima) == 4 and abs(sum(of_minima) - sum(shares[0][:2])) < 0.3, of_minima)
    text = visit.text(said)
    visit.open(visit.hash())
    page.until(done + f" && document.querySelector('{said}').textContent !== ''")
    check(visit.text(said) == text, visit.text(said))
    # What has none says so.
    visit.open("function=cosh&basins=32&of=0")
    page.until(done)
    check("one variable" in visit.text(said), visit.text(said))


def explains(browser, address):
    """A browser that has no WebGPU at all, and a page that came over a way that may not have it."""
    for spoiled, words in (("Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined })", "This browser has no WebGPU"),
                           ("Object.defineProperty(window, 'isSecureContext', { value: false })", "https://")):
        visit = Visit(browser, address)
        visit.page.call("Page.addScriptToEvaluateOnNewDocument", source=spoiled)
        visit.open("function=beale&steps=20")
        check(words in visit.text("#device"), visit.text("#device"))
        check(falls(visit.saved()), "it races all the same")
        check(visit.page.complaints() == [], visit.page.complaints())


def verifies(visit, has_gpu):
    """The check of every rule's defaults finds all of them right, and says so in a report."""
    visit.open("function=beale&steps=30")
    page, hash = visit.page, visit.hash()
    rules = page.eval("[...document.querySelectorAll('#new-rule option')].map((option) => option.value)")
    page.click("#to-verify")
    page.until("!document.querySelector('#verify-part').hidden", 5)
    page.click("#check")
    page.until("document.querySelector('#verdict').textContent.includes('right')", 300)
    check(visit.text("#verdict").startswith(f"{len(rules)} of {len(rules)} are right"), visit.text("#verdict"))
    rows = page.eval("[...document.querySelectorAll('#checks tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")
    check([row[0] for row in rows] == rules, f"the rules are {rows}")
    for row in rows:
        check(row[1] == "ok" and row[3].endswith("–") != has_gpu and "–" not in row[4], f"{row}")
    page.click("#report")
    page.until("document.querySelector('#verdict').textContent.includes('report is')", 5)
    text = page.eval("navigator.clipboard.readText()")
    check("Mozilla" in text and all(f"| {rule} | ok |" in text for rule in rules), text)
    page.click("#to-race")
    page.until("!document.querySelector('#race-part').hidden", 5)
    check(visit.hash() == hash, visit.hash())


def same_as_native(visit, program, device, tolerance):
    worst = 0
    for hash in (f"function=beale&rules={RULES}&start=1,1.5&steps=400", NOISY,
                 "function=local_minimum&rules=sgd:lr=0.001,adam:lr=0.01&steps=200"):
        visit.open(hash)
        other, said = native(program, visit.command(), device)
        worst = max(worst, compare(visit.saved(), other, tolerance))
    print(f"   at most {worst:.1e} from {said.split(maxsplit=1)[1]}")


def own_schedules(visit, program, device, tolerance):
    """Rules whose schedules are chosen by keyboard and by pointer go as natively, and the others as before."""
    rules = ["adam:lr=0.1", "adam:lr=0.1", "adam:lr=0.1", "sgd:lr=0.01"]
    link = "function=beale&rules={}&start=1,1.5&steps=200&schedule=step&warmup=10"
    visit.open(link.format(",".join(rules)))
    page, before = visit.page, paths(visit.saved())
    check(all(places[0]["schedule"] == "step" for _, places in before), "one schedule for all is in the link")
    check(before[0] == before[1] == before[2], "the same rule three times")
    check(visit.text("label[for=rule-1-schedule]") == "schedule", "the choice has a label")
    page.eval("document.querySelector('#rule-2-schedule').focus()")
    visit.rerun(lambda: page.key("ArrowDown"))
    visit.rerun(lambda: page.choose("#rule-1-schedule", "cosine"))
    rules[1:3] = ["adam:lr=0.1:schedule=cosine", "adam:lr=0.1:schedule=constant"]
    check(visit.hash() == link.format(",".join(rules)), visit.hash())
    lines = visit.saved()
    after = paths(lines)
    found = [places[0]["schedule"] for _, places in after]
    check(found == ["step", "cosine", "constant", "step"], found)
    check(after[0] == before[0] and after[3] == before[3], "whoever has no schedule goes as before")
    ends = {tuple(places[-1]["x"]) for _, places in after[:3]}
    check(len(ends) == 3, f"three schedules end at {ends}")
    other, _ = native(program, visit.command(), device)
    worst = compare(lines, other, tolerance)
    visit.open(visit.hash())
    check(visit.saved() == lines, "the link gives the same race")
    titles = page.eval("[...document.querySelectorAll('#rules b')].map((title) => title.textContent)")
    check(titles == ["Adam", "Adam, schedule cosine", "Adam, schedule constant", "SGD"], titles)
    # As all again.
    visit.rerun(lambda: page.choose("#rule-1-schedule", ""))
    check(paths(visit.saved())[1] == before[1], "back to the schedule of all")
    print(f"   with schedules of their own: at most {worst:.1e}")


def pictures(browser, address, shots):
    os.makedirs(shots, exist_ok=True)
    for width, height in ((1280, 900), (390, 844)):
        visit = Visit(browser, address, width, height)
        for scheme in ("light", "dark"):
            visit.page.prefer(color_scheme=scheme, reduced_motion="reduce")
            visit.open("")
            visit.page.until("document.querySelector('#shown').textContent === 'step 400'", 5)
            check_width(visit, width)
            visit.page.screenshot(os.path.join(shots, f"race-{width}-{scheme}.png"))
        if width < 600:
            # With a finger.
            visit.page.call("Emulation.setTouchEmulationEnabled", enabled=True)
            visit.rerun(lambda: visit.page.tap("#map", 0.4, 0.7))
            check("start=1,1.5" not in visit.hash(), "a tap chooses a start")
        visit.open("function=himmelblau&rules=adam:lr=0.1&steps=200&basins=64&of=0")
        visit.page.until("document.querySelector('#basins-part').dataset.state === 'done'")
        check_width(visit, width)
        visit.page.screenshot(os.path.join(shots, f"basins-{width}.png"))
        for scheme in ("light", "dark"):
            visit.page.prefer(color_scheme=scheme, reduced_motion="reduce")
            training.pictured(visit, width, os.path.join(shots, f"train-{width}-{scheme}.png"))
            timing.pictured(visit, width, os.path.join(shots, f"bench-{width}-{scheme}.png"))
        visit.open("verify")
        visit.page.until("!document.querySelector('#verify-part').hidden", 5)
        visit.page.click("#check")
        visit.page.until("document.querySelectorAll('#checks tbody tr').length > 3", 60)
        check_width(visit, width)
        visit.page.screenshot(os.path.join(shots, f"verify-{width}.png"))
        check(visit.page.complaints() == [], visit.page.complaints())


def say(text):
    print(text, flush=True)


def in_firefox(path, address, programs):
    """A race, a training and Verify; on the CPU twin where this Firefox has no WebGPU, as on Linux up to 140."""
    with firefox.Firefox(path) as browser:
        visit = Visit.in_firefox(browser, address)
        visit.open("")
        where = visit.text("#device")
        say(f"== {browser.version}: {where}")
        has_gpu = "your GPU" in where
        check(has_gpu or "CPU twin" in where and "This browser has no WebGPU" in where, where)
        device = "gpu" if has_gpu else "cpu"
        same_as_native(visit, os.path.join(programs, "landscape"), device, 1e-4 if has_gpu else 1e-6)
        training.same_as_native(visit, programs, 1e-3 if has_gpu else 1e-5)
        verifies(visit, has_gpu)
        check(browser.complaints() == [], browser.complaints())


def main(dist, programs, shots, *wanted):
    path, address = find(), serve(dist)
    program = os.path.join(programs, "landscape")
    is_wanted = lambda name: not wanted or name in wanted
    with Browser(path, "--enable-unsafe-webgpu") as browser:
        visit = Visit(browser, address)
        visit.open("")
        where = visit.text("#device")
        check("your GPU" in where, where)
        say(f"== With WebGPU: {where}")
        if is_wanted("race"):
            for test in (clicks, keyboard, links, faults, everyone):
                test(visit)
            same_as_native(visit, program, "gpu", 1e-4)
            own_schedules(visit, program, "gpu", 1e-4)
            finds_basins(visit, program, "gpu")
            verifies(visit, True)
        if is_wanted("train"):
            training.tried(visit, programs, 1e-3)
        if is_wanted("bench"):
            timing.tried(visit, programs)
        check(visit.page.complaints() == [], visit.page.complaints())
        if is_wanted("pictures"):
            pictures(browser, address, shots)
    with Browser(path) as browser:
        visit = Visit(browser, address)
        visit.open("")
        where = visit.text("#device")
        check("CPU twin" in where and "chrome://gpu" in where, where)
        say(f"== Without WebGPU: {where}")
        if is_wanted("race"):
            clicks(visit)
            everyone(visit)
            same_as_native(visit, program, "cpu", 1e-6)
            own_schedules(visit, program, "cpu", 1e-6)
            finds_basins(visit, program, "cpu")
            verifies(visit, False)
        if is_wanted("train"):
            training.tried(visit, programs, 1e-5)
        if is_wanted("bench"):
            timing.refused(visit)
        if is_wanted("race"):
            # Its pages take over where the browser saves to.
            explains(browser, address)
        # That there is no adapter is what the browser itself warns of.
        others = [text for text in visit.page.complaints() if "No available adapters" not in text]
        check(others == [], others)
    if is_wanted("firefox"):
        if path := firefox.find():
            in_firefox(path, address, programs)
        else:
            say("not run: there is no Firefox (apt-get install firefox-esr; or FIREFOX=PATH)")
    say(f"pictures to look at: {shots}")


if __name__ == "__main__":
    main(*sys.argv[1:])
