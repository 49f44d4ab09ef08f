"""The part of the page that trains networks."""

import json
import math
import os
import subprocess
import tempfile

from visit import check, check_width

# Rules that no rounding sends elsewhere within a few epochs; one of them for matrices alone, one that looks
# at the weights in another place than it trains them in, and one that takes curvatures.
RULES = "sgd:lr=0.03:momentum=0.9,adamw:lr=0.003,schedulefree_sgd:lr=0.3,muon:lr=0.02,sophia:lr=0.001"
SETTING = f"train&rules={RULES}&epochs=3&batch=32&hidden=48,24&seed=5&schedule=cosine&warmup=10"
PART = "document.querySelector('#train-part')"
ENDED = f"['done', 'failed'].includes({PART}.dataset.state)"
# Strokes over the pad, as parts of it.
ROUND = [(0.5 + 0.24 * math.sin(turn / 10 * math.pi), 0.5 - 0.34 * math.cos(turn / 10 * math.pi)) for turn in range(21)]
DIGITS = {0: [ROUND], 1: [[(0.5, 0.12), (0.5, 0.5), (0.5, 0.88)]],
          7: [[(0.3, 0.2), (0.7, 0.2), (0.55, 0.5), (0.45, 0.85)], [(0.35, 0.52), (0.66, 0.52)]]}


def open_at(visit, hash):
    visit.page.open(visit.address + "#" + hash)
    visit.page.until("document.querySelector('#learners li') && document.body.dataset.state")
    visit.page.until(f"!{PART}.hidden", 5)


def train(visit, seconds=300):
    """The lines of a training, from the click on Train to its end."""
    visit.page.click("#train")
    visit.page.until(ENDED, seconds)
    check(visit.page.eval(f"{PART}.dataset.state") == "done", visit.text("#train-said"))
    return visit.saved("#train-save")


def untimed(lines):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def native(folder, command):
    """What `compare` writes for the command that the page names."""
    flags = command.split(" -- ", 1)[1].split()
    at = flags.index("--out")
    del flags[at:at + 2]
    with tempfile.TemporaryDirectory() as out:
        flags[flags.index("--json") + 1] = path = os.path.join(out, "native.jsonl")
        subprocess.run([os.path.join(folder, "compare"), *flags, "--quiet"], check=True, capture_output=True)
        with open(path) as file:
            return [json.loads(line) for line in file]


def same_as_native(visit, folder, tolerance):
    """Every epoch of every optimizer is the native one's, and so is the accuracy to a digit more or less."""
    open_at(visit, SETTING)
    lines, others = train(visit), native(folder, visit.text("#train-command"))
    check(len(lines) == len(others) == 5 * 4, f"{len(lines)} lines, natively {len(others)}")
    worst = 0
    for mine, theirs in zip(lines, others):
        for key in ("optimizer", "seed", "epoch"):
            check(mine[key] == theirs[key], f"{key}: {mine}, not {theirs}")
        for key in ("train_loss", "test_loss"):
            difference = abs(mine[key] - theirs[key]) / theirs[key]
            worst = max(worst, difference)
            check(difference <= tolerance, f"{key} of {mine['optimizer']} after epoch {mine['epoch']}: {mine[key]}, not {theirs[key]}")
        check(abs(mine["test_accuracy"] - theirs["test_accuracy"]) < 1.5 / 355, f"{mine}, not {theirs}")
    finals = [line for line in lines if line["epoch"] == 3]
    check(all(line["test_accuracy"] > 0.6 for line in finals), f"they learn: {finals}")
    print(f"   losses of five optimizers: at most {worst:.1e} from native ones, relative to them")
    return lines


def side_by_side(visit, lines):
    """Each optimizer beside others gives what it gives alone, to the last bit."""
    for index, rule in enumerate(RULES.split(",")[:3]):
        open_at(visit, SETTING.replace(RULES, rule))
        check(untimed(train(visit)) == untimed(lines[4 * index:4 * index + 4]), f"{rule} alone is another")


def links(visit, lines):
    """The link restores the whole setting, and with it the training."""
    open_at(visit, SETTING)
    check(visit.hash() == SETTING, f"the link is kept: {visit.hash()}")
    values = visit.page.eval("['epochs', 'batch', 'hidden', 'train-seed', 'train-schedule', 'train-warmup'].map((id) => document.getElementById(id).value)")
    check(values == ["3", "32", "48,24", "5", "cosine", "10"], values)
    check(untimed(train(visit)) == untimed(lines), "the same training")
    for hash, words in (("train&rules=addam", "expected one of"), ("train&epochs=x", "from 1 to 1000"), ("train&schedule=never", "expected one of constant"),
                        ("train&rules=newton_dense", "whole Hessian"), ("train&batch=2", "from 4 up")):
        open_at(visit, hash)
        check(words in visit.text("#train-said"), visit.text("#train-said"))


def chooses(visit):
    """Optimizers and numbers are chosen by clicks, and what cannot be is refused in words."""
    page = visit.page
    open_at(visit, "train&rules=adamw:lr=0.003&epochs=2&hidden=16")
    page.write("#epochs", "0")
    check("from 1 to 1000" in visit.text("#train-said"), visit.text("#train-said"))
    page.write("#learners li input[inputmode]", "-1")
    check("expected" in visit.text("#learners .fault"), visit.text("#learners .fault"))
    page.write("#learners li input[inputmode]", "0.01")
    page.choose("#new-learner", "sgd")
    page.click("#add-learner")
    page.choose("#new-learner", "newton")
    page.click("#add-learner")
    page.write("#epochs", "1")
    page.choose("#train-schedule", "constant")
    expected = "rules=adamw:lr=0.01,sgd:lr=0.3:momentum=0,newton:lr=0.01:damping=0.1&epochs=1&"
    check(expected in visit.hash() and "schedule=constant" in visit.hash(), visit.hash())
    check(len(train(visit)) == 3 * 2, "three optimizers, before and after an epoch")
    rows = page.eval("[...document.querySelectorAll('#scores tbody tr')].map((row) => row.cells[1].textContent)")
    check(rows == ["1", "1", "1"], rows)
    page.click("#learners li:last-child .head button")
    check("newton" not in visit.hash(), visit.hash())
    # A training that is stopped says so, and its networks can be asked.
    page.write("#epochs", "500")
    page.click("#train")
    page.until("document.querySelectorAll('#scores tbody tr')[1]?.cells[1].textContent > 0", 60)
    page.click("#train")
    page.until(ENDED, 60)
    check(visit.text("#train-said").startswith("Stopped."), visit.text("#train-said"))
    page.click("#sample")
    check(all(0 <= int(guess) <= 9 for guess in guesses(visit)), guesses(visit))


def guesses(visit):
    return visit.page.eval("[...document.querySelectorAll('#guesses .guess')].map((cell) => cell.textContent)")


def parts(visit):
    """The probabilities that the table has."""
    return visit.page.eval("[...document.querySelectorAll('#guesses .part')].map((cell) => Number(cell.dataset.part))")


def guesses_digits(visit):
    """The pad's guesses are the network's own: of all test digits as many are right as the training says."""
    page = visit.page
    open_at(visit, "train&rules=adamw:lr=0.003,sgd:lr=0.03:momentum=0.9&epochs=6&batch=32&hidden=64&seed=1&schedule=cosine")
    lines = train(visit)
    hits, count = page.eval("""(() => {
        const count = Number(document.querySelector("#sample").click() || document.querySelector("#pad-said").textContent.match(/of (\\d+)/)[1]);
        const hits = [0, 0];
        for (let i = 0; i < count; i++) {
            const right = document.querySelector("#pad-said").textContent.match(/(\\d)\\.$/)[1];
            document.querySelectorAll("#guesses .guess").forEach((cell, index) => (hits[index] += cell.textContent === right));
            document.querySelector("#sample").click();
        }
        return [hits, count];
    })()""")
    for found, line in zip(hits, (lines[6], lines[13])):
        check(line["epoch"] == 6 and abs(found - line["test_accuracy"] * count) < 1.01, f"{found} of {count}, not {line}")
        check(line["test_accuracy"] > 0.9, line)
    shares = parts(visit)
    check(len(shares) == 20 and abs(sum(shares) - 2) < 1e-5, shares)
    by_keyboard(visit)
    for digit, strokes in DIGITS.items():
        page.click("#clear")
        for stroke in strokes:
            page.drag("#pad", stroke)
        page.until("document.querySelectorAll('#guesses .part').length === 20", 5)
        page.eval("new Promise(requestAnimationFrame)")
        check(guesses(visit) == [str(digit)] * 2, f"a {digit} is taken for {guesses(visit)}")
    page.click("#clear")
    check(parts(visit) == [], "nothing drawn is nothing to guess")


def by_keyboard(visit):
    """A test digit that is set pixel by pixel with the keyboard gives the same probabilities."""
    page = visit.page
    page.click("#sample")
    expected, said = parts(visit), visit.text("#pad-said")
    index = int(said.split()[2]) - 1
    pixels = page.eval(f"import('./pkg/wgpu_optim_web.js').then((wasm) => [...wasm.test_digit({index})])")[:64]
    page.eval("document.querySelector('#seen').focus()")
    page.key("Delete")
    for _ in range(8):
        page.key("ArrowLeft")
        page.key("ArrowUp")
    for row in range(8):
        across = range(8) if row % 2 == 0 else range(7, -1, -1)
        for column in across:
            shades = round(16 * pixels[8 * row + column])
            if shades > 8:
                page.key(" ")
                for _ in range(16 - shades):
                    page.key("-")
            for _ in range(shades if shades <= 8 else 0):
                page.key("+")
            page.key("ArrowRight" if row % 2 == 0 else "ArrowLeft")
        page.key("ArrowDown")
    check(parts(visit) == expected, f"{parts(visit)}, not {expected}")


def tried(visit, folder, tolerance):
    lines = same_as_native(visit, folder, tolerance)
    side_by_side(visit, lines)
    links(visit, lines)
    chooses(visit)
    guesses_digits(visit)


def pictured(visit, width, path):
    """As it is after a training with a digit on the pad."""
    open_at(visit, "train&rules=sgd:lr=0.03:momentum=0.9,adamw:lr=0.003,lion:lr=0.0005,muon:lr=0.02&epochs=6&hidden=32")
    train(visit)
    for stroke in DIGITS[7]:
        (visit.page.swipe if width < 600 else visit.page.drag)("#pad", stroke)
    visit.page.until("document.querySelectorAll('#guesses .part').length === 40", 5)
    check_width(visit, width)
    over = visit.page.eval("['scores', 'guesses'].filter((id) => (({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)(document.getElementById(id)))")
    check(over == [], f"{width} pixels wide: {over} are cut off")
    visit.page.settle()
    visit.page.screenshot(path)
