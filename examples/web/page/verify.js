// Every rule on the visitor's GPU, held against the f64 twin: a table, and a report to copy.

import { significant } from "./plot.js";

const part = (id) => document.getElementById(id);
const COLUMNS = ["Rule", "Verdict", "Of budget", "GPU error", "f32 error", "Variant"];

export class Verifier {
  #isStopped = true;

  // `variantCount(rule)` and `course()` are the wasm's; `device()` says where it runs.
  constructor(catalog, variantCount, course, device) {
    Object.assign(this, { catalog, variantCount, course, device });
    this.rows = [];
    part("check").addEventListener("click", () => (this.#isStopped ? this.run() : this.stop()));
    part("report").addEventListener("click", () => this.copy());
  }

  stop() {
    this.#isStopped = true;
    part("check").textContent = "Check";
  }

  async run() {
    const isAll = part("which").value === "all";
    const checks = this.catalog.rules.flatMap(({ name }) => {
      const count = isAll ? this.variantCount(name) : 1;
      return Array.from({ length: count }, (_, index) => [name, index]);
    });
    this.#isStopped = false;
    this.rows = [];
    part("check").textContent = "Stop";
    part("report").disabled = true;
    part("checked").value = 0;
    part("checked").max = checks.length;
    const body = this.table();
    const course = this.course();
    for (const [rule, index] of checks) {
      if (this.#isStopped) break;
      const row = await course.check(rule, index).then(JSON.parse, (error) => failed(rule, index, error));
      this.rows.push(row);
      const line = body.insertRow();
      cells(row).forEach((text) => (line.insertCell().textContent = text));
      line.classList.toggle("failed", row.failures.length > 0);
      part("checked").value = this.rows.length;
      part("verdict").textContent = `${this.rows.length} of ${checks.length} checked …`;
      // The page's turn.
      await new Promise((resume) => setTimeout(resume));
    }
    this.stop();
    part("verdict").textContent = this.summary(checks.length);
    part("report").disabled = this.rows.length === 0;
  }

  table() {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const column of COLUMNS) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column;
      head.append(cell);
    }
    part("checks").replaceChildren(table);
    return table.createTBody();
  }

  summary(wanted) {
    const right = this.rows.filter((row) => row.failures.length === 0).length;
    const cut = this.rows.length < wanted ? ` Stopped: ${wanted} were to be checked.` : "";
    const used = Math.max(0, ...this.rows.map((row) => row.of_budget ?? 0));
    const most = used > 0 ? `; at most ${percent(used)} of a budget is used` : "";
    return `${right} of ${this.rows.length} are right${most}.${cut}`;
  }

  // As Markdown, for an issue.
  text() {
    const table = [COLUMNS, COLUMNS.map(() => "---"), ...this.rows.map(cells)];
    const lines = table.map((row) => `| ${row.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`);
    const facts = [this.device(), navigator.userAgent, new Date().toISOString()];
    return [...facts, "", part("verdict").textContent, "", ...lines, ""].join("\n");
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.text());
      part("verdict").textContent = "The report is in the clipboard.";
    } catch {
      part("written").hidden = false;
      part("written").textContent = this.text();
      part("verdict").textContent = "The browser keeps the clipboard to itself: the report is below.";
    }
  }
}

function failed(rule, index, error) {
  const variant = index === 0 ? "defaults" : `variant ${index}`;
  return { rule, variant, failures: [error.message], f32_error: null, gpu_error: null, of_budget: null };
}

const percent = (share) => `${Math.round(100 * share)} %`;

function cells(row) {
  const number = (value, write) => (value === null ? "–" : write(value));
  const verdict = row.failures.length === 0 ? "ok" : `FAILED: ${row.failures.join("; ")}`;
  const error = (value) => number(value, (value) => significant(value, 2));
  return [row.rule, verdict, number(row.of_budget, percent), error(row.gpu_error), error(row.f32_error), row.variant];
}
