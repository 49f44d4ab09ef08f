// What networks have learnt: curves over epochs, scores, and guesses.

import { Plot, significant } from "./plot.js";
import { look, sample } from "./theme.js";

// What accuracies start at before the first epoch says nothing about optimizers.
const FIRST = 1;

// `runs` has the lines of each rule's epochs.
export function drawCurves(part, theme, runs, epochs) {
  const axis = { low: 0, high: Math.max(epochs, 1), label: "epoch" };
  const [least, most] = range(runs, "train_loss", 0, [0.1, 3]);
  // A power of ten at least, which has its tick.
  const [low, high] = [Math.min(least / 1.4, most / 10), most * 1.4];
  const losses = new Plot(part("losses"), theme, axis, { low, high, label: "training loss", isLog: true });
  lines(losses, theme, runs, "train_loss");
  const [worst] = range(runs, "test_accuracy", FIRST, [0.8, 1]);
  const floor = Math.max(0, Math.floor(10 * worst - 0.2) / 10);
  const accuracies = new Plot(part("accuracies"), theme, axis, { low: floor, high: 1, label: "test accuracy" });
  lines(accuracies, theme, runs, "test_accuracy");
}

function range(runs, key, first, otherwise) {
  const numbers = runs.flatMap((run) => run.slice(first).map((line) => line[key])).filter((number) => number > 0);
  return numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : otherwise;
}

function lines(plot, theme, runs, key) {
  plot.axes(true);
  plot.inside(() => {
    runs.forEach((run, index) => {
      // What was no finite number is null.
      plot.line(run.length, (i) => [run[i].epoch, run[i][key] ?? NaN], look(index, theme));
    });
  });
}

export function drawScores(part, theme, runs, titles) {
  const { table, body } = head(["Optimizer", "Epochs", "Training loss", "Test loss", "Test accuracy", "Seconds"]);
  runs.forEach((run, index) => {
    const last = run.at(-1);
    const row = body.insertRow();
    named(row, theme, index, titles[index]);
    if (!last) return ["–", "–", "–", "–", "–"].forEach((text) => (row.insertCell().textContent = text));
    const loss = (value) => (value === null ? "no number" : significant(value, 3));
    const accuracy = `${(100 * last.test_accuracy).toFixed(2)} %`;
    for (const text of [last.epoch, loss(last.train_loss), loss(last.test_loss), accuracy, last.seconds.toFixed(1)]) {
      row.insertCell().textContent = text;
    }
  });
  part.replaceChildren(table);
}

// `probabilities` has ten for each rule, which are NaN where it has not been trained.
export function drawGuesses(part, theme, titles, probabilities) {
  const digits = Array.from({ length: 10 }, (_, digit) => String(digit));
  const { table, body } = head(["Optimizer", "Guess", ...digits]);
  titles.forEach((title, index) => {
    const parts = probabilities.slice(10 * index, 10 * index + 10);
    const row = body.insertRow();
    named(row, theme, index, title);
    const guess = row.insertCell();
    guess.className = "guess";
    const isTrained = Number.isFinite(parts[0]);
    guess.textContent = isTrained ? parts.indexOf(Math.max(...parts)) : "–";
    digits.forEach((digit) => {
      const cell = row.insertCell();
      if (!isTrained) return;
      const share = parts[digit];
      const text = document.createElement("span");
      text.textContent = Math.round(100 * share);
      cell.className = "part";
      cell.title = `${digit}: ${(100 * share).toFixed(2)} %`;
      cell.dataset.part = share;
      cell.style.setProperty("--part", share.toFixed(4));
      cell.style.setProperty("--of", look(index, theme).colour);
      cell.append(text);
    });
  });
  table.createCaption().textContent = "Probability of each digit in percent";
  part.replaceChildren(table);
}

function head(columns) {
  const table = document.createElement("table");
  const row = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    row.append(cell);
  }
  return { table, body: table.createTBody() };
}

function named(row, theme, index, title) {
  const name = row.insertCell();
  name.innerHTML = sample(look(index, theme));
  name.append(title);
}
