"""The part of the page that times steps."""

import json
import os
import subprocess

from visit import check, check_width

SETTING = "bench&rules=sgd,adamw&formats=f32,int8&size=2^16&rounds=5"
PART = "document.querySelector('#bench-part')"


def open_at(visit, hash):
    visit.page.open(visit.address + "#" + hash)
    visit.page.until(f"document.body?.dataset.state && !{PART}.hidden")


def time(visit, seconds=300):
    """The lines of a timing, from the click on Time to its end."""
    visit.page.click("#time")
    visit.page.until(f"{PART}.dataset.state === 'done'", seconds)
    return visit.saved("#bench-save")


def native(folder, rules, formats):
    """Lines of `bench --json`, for their names and for the bytes that they say are moved."""
    command = [os.path.join(folder, "bench"), "--json", "--rules", rules, "--formats", formats, "--sizes", "2^10", "--rounds", "1"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def tried(visit, folder):
    page = visit.page
    open_at(visit, SETTING)
    check(visit.hash().replace("%5E", "^") == SETTING, f"the link is kept: {visit.hash()}")
    page.click("#timed input[value=lion]")
    check("rules=sgd,adamw,lion" in visit.hash(), visit.hash())
    lines, others = time(visit), native(folder, "sgd,adamw,lion", "f32,int8")
    check(len(lines) == len(others) == 6, f"{lines}")
    for mine, theirs in zip(lines, others):
        check(mine.keys() == theirs.keys(), f"{sorted(mine)}, not {sorted(theirs)}")
        for key in ("rule", "format", "tensors", "bytes_per_element"):
            check(mine[key] == theirs[key], f"{key}: {mine}, not {theirs}")
        check(mine["elements"] == 2 ** 16 and mine["size"] == "2^16", mine)
        check(mine["ms"] > 0 and mine["record_us"] > 0, mine)
        rate = 1e-6 * mine["bytes_per_element"] * mine["elements"] / mine["ms"]
        check(abs(mine["gb_per_s"] / rate - 1) < 2e-3, mine)
        check(0 < mine["copy_ratio_low"] <= mine["copy_ratio"] <= mine["copy_ratio_high"] < 50, mine)
        check("threads" in mine["copy"], mine)
    rows = page.eval("[...document.querySelectorAll('#times tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")
    check([row[0] for row in rows] == ["sgd", "sgd int8", "adamw", "adamw int8", "lion", "lion int8"], rows)
    check(all(len(row) == 7 and "no number" not in row for row in rows), rows)
    check("ms apart" in visit.text("#clock"), visit.text("#clock"))
    page.click("#bench-report")
    page.until("document.querySelector('#bench-said').textContent.includes('report is')", 5)
    text = page.eval("navigator.clipboard.readText()")
    check("Mozilla" in text and "a software adapter" in text and "| adamw int8 |" in text, text)
    written = [json.loads(line) for line in text.split("```json\n")[1].split("\n```")[0].splitlines()]
    check(written == lines, "the report has the lines")
    # What times are worth without the page in front is said as well.
    page.eval("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    for rule in ("sgd", "adamw"):
        page.click(f"#timed input[value={rule}]")
    check(len(time(visit)) == 2 and "in the background" in visit.text("#bench-said"), visit.text("#bench-said"))
    open_at(visit, "bench&rules=muon")
    check("expected some of sgd" in visit.text("#bench-said"), visit.text("#bench-said"))


def refused(visit):
    """Without WebGPU there is nothing to time."""
    open_at(visit, SETTING)
    check(visit.page.eval("document.querySelector('#time').disabled"), "nothing can be timed")
    check("no WebGPU" in visit.text("#bench-said"), visit.text("#bench-said"))


def pictured(visit, width, path):
    open_at(visit, "bench&rules=sgd,adamw,lion,adafactor&formats=f32,bf16&size=2^18&rounds=5")
    check(len(time(visit)) == 8, "all are timed")
    check_width(visit, width)
    visit.page.settle()
    visit.page.screenshot(path)
