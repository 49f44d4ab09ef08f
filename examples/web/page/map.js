// The function from above, or its curve where it has one variable, with the paths on it.

import { Plot } from "./plot.js";
import { look, shape } from "./theme.js";

// Points along each variable that the function is sampled at.
export const ACROSS = 241;
// More stars than this would hide the paths.
const MOST_MARKED = 16;
// Of the domain, for each press of an arrow.
const STRIDE = 1 / 60;

export class ReliefMap {
  constructor(canvas, choose) {
    this.canvas = canvas;
    this.choose = choose;
    this.cross = null;
    canvas.addEventListener("click", (event) => this.click(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.move(null));
  }

  // Another function, from `entry` of the catalog and its relief.
  show(entry, relief) {
    this.entry = entry;
    this.relief = { values: relief.values, low: relief.low, high: relief.high };
    this.levels = entry.domain.length === 2 ? relief.levels() : null;
    this.ground = null;
    this.cross = null;
  }

  draw(theme, race, shown, start) {
    this.redraw = () => this.draw(theme, race, shown, start);
    const { entry, relief } = this;
    const [low, high] = entry.domain[0];
    const x = { low, high, label: "x" };
    const margin = 0.05 * (relief.high - relief.low);
    const y = this.levels
      ? { low: entry.domain[1][0], high: entry.domain[1][1], label: "y" }
      : { low: relief.low - margin, high: relief.high + margin, label: "f(x)" };
    const plot = new Plot(this.canvas, theme, x, y);
    this.plot = plot;
    this.start = start;
    if (this.levels) this.ground = drawGround(plot, this.levels, theme, this.ground);
    plot.axes(this.levels === null);
    plot.inside((context) => {
      if (!this.levels) this.drawCurve(plot, theme);
      const point = (path) => (i) => [path.x[i], this.levels ? path.y[i] : path.value[i]];
      race.paths.forEach((path, index) => plot.line(Math.min(shown + 1, path.x.length), point(path), look(index, theme)));
      this.marks(plot, context, theme, race, shown);
      if (this.cross) this.drawCross(plot, context, theme);
    });
  }

  drawCurve(plot, theme) {
    const { relief, entry } = this;
    const [low, high] = entry.domain[0];
    const point = (i) => [low + ((high - low) * i) / (ACROSS - 1), relief.values[i]];
    plot.line(ACROSS, point, { colour: theme.faint, dash: [] }, 1.5);
  }

  marks(plot, context, theme, race, shown) {
    const all = this.entry.minima;
    const marked = all.length > MOST_MARKED ? all.filter((minimum) => minimum.value === this.entry.lowest) : all;
    for (const { at, value } of marked) {
      const [x, y] = plot.place(at[0], this.levels ? at[1] : value);
      star(context, x, y, theme);
    }
    const start = this.position(this.start);
    const [x, y] = plot.place(...start);
    mark(context, theme.paper, theme.ink, () => context.arc(x, y, 5, 0, 2 * Math.PI));
    race.paths.forEach((path, index) => {
      const end = lastFinite(path, shown);
      if (end < 0) return;
      const [x, y] = plot.place(path.x[end], this.levels ? path.y[end] : path.value[end]);
      const { colour, corners } = look(index, theme);
      mark(context, colour, theme.paper, () => {
        if (corners === 0) return context.arc(x, y, 5, 0, 2 * Math.PI);
        shape(corners, x, y, 6).forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
        context.closePath();
      });
    });
  }

  // Where a start is on the canvas's axes.
  position(start) {
    if (this.levels) return start;
    const [low, high] = this.entry.domain[0];
    const index = Math.round(((start[0] - low) / (high - low)) * (ACROSS - 1));
    return [start[0], this.relief.values[Math.max(0, Math.min(ACROSS - 1, index))]];
  }

  drawCross(plot, context, theme) {
    const { rect } = plot;
    const [x, y] = plot.place(...this.position(this.cross));
    context.strokeStyle = theme.ink;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, rect.top);
    context.lineTo(x, rect.top + rect.height);
    if (this.levels) {
      context.moveTo(rect.left, y);
      context.lineTo(rect.left + rect.width, y);
    }
    context.stroke();
    context.setLineDash([]);
  }

  // Within the domain, with no more digits than a pixel is worth.
  rounded(start) {
    return this.entry.domain.map(([low, high], i) => {
      const digits = Math.max(0, 3 - Math.floor(Math.log10(high - low)));
      return Number(Math.max(low, Math.min(high, start[i])).toFixed(digits));
    });
  }

  click(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { left, top, width, height } = this.plot.rect;
    if (x < left || x > left + width || y < top || y > top + height) return;
    this.choose(this.rounded(this.plot.at(x, y)));
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (way) {
      event.preventDefault();
      const far = event.shiftKey ? 5 : 1;
      const from = this.cross ?? this.start;
      const to = this.entry.domain.map(([low, high], i) => from[i] + way[i] * far * STRIDE * (high - low));
      this.move(this.rounded(to));
    } else if (event.key === "Enter" && this.cross) {
      event.preventDefault();
      const cross = this.cross;
      this.cross = null;
      this.choose(cross);
    } else if (event.key === "Escape") {
      this.move(null);
    }
  }

  move(cross) {
    if (cross === this.cross) return;
    this.cross = cross;
    this.redraw?.();
  }
}

// Levels in a plot's frame. What was drawn of them last serves again if it can.
export function drawGround(plot, levels, theme, before) {
  const { rect, ratio, context } = plot;
  const [width, height] = [Math.round(rect.width * ratio), Math.round(rect.height * ratio)];
  const key = [width, height, theme.levels[0]].join();
  const isSame = before?.key === key && before.levels === levels;
  const drawn = isSame ? before : { key, levels, picture: ground(levels, width, height, theme) };
  context.drawImage(drawn.picture, rect.left, rect.top, rect.width, rect.height);
  return drawn;
}

// The last place up to `shown` that is a number.
export function lastFinite(path, shown) {
  let end = Math.min(shown, path.x.length - 1);
  while (end >= 0 && !(Number.isFinite(path.x[end]) && Number.isFinite(path.value[end]))) end--;
  return end;
}

function mark(context, fill, rim, outline) {
  context.beginPath();
  outline();
  context.fillStyle = fill;
  context.strokeStyle = rim;
  context.lineWidth = 2;
  context.stroke();
  context.fill();
}

function star(context, x, y, theme) {
  context.beginPath();
  for (let i = 0; i < 10; i++) {
    const [turn, radius] = [(Math.PI * i) / 5 - Math.PI / 2, i % 2 ? 3.5 : 8];
    context.lineTo(x + radius * Math.cos(turn), y + radius * Math.sin(turn));
  }
  context.closePath();
  context.fillStyle = theme.paper;
  context.strokeStyle = theme.ink;
  context.lineWidth = 1.5;
  context.fill();
  context.stroke();
}

// Levels as areas with a line between each two.
function ground(levels, width, height, theme) {
  const picture = document.createElement("canvas");
  Object.assign(picture, { width, height });
  const context = picture.getContext("2d");
  const image = context.createImageData(width, height);
  const areas = theme.levels.map(rgb);
  const line = rgb(theme.contour);
  const cells = ACROSS - 1;
  // Levels of a row of pixels, and of the row below it.
  const row = (y) => {
    const v = Math.min(cells, (1 - (y + 0.5) / height) * cells);
    const j = Math.max(0, Math.min(cells - 1, Math.floor(v)));
    const up = Math.max(0, v - j);
    const out = new Float32Array(width + 1);
    for (let x = 0; x <= width; x++) {
      const u = Math.min(cells, ((x + 0.5) / width) * cells);
      const i = Math.min(cells - 1, Math.floor(u));
      const t = u - i;
      const at = j * ACROSS + i;
      const low = levels[at] + t * (levels[at + 1] - levels[at]);
      const high = levels[at + ACROSS] + t * (levels[at + ACROSS + 1] - levels[at + ACROSS]);
      out[x] = low + up * (high - low);
    }
    return out;
  };
  let here = row(0);
  for (let y = 0; y < height; y++) {
    const next = row(y + 1);
    for (let x = 0; x < width; x++) {
      const level = here[x];
      const steep = Math.max(Math.hypot(here[x + 1] - level, next[x] - level), 1e-9);
      const limit = Math.max(1, Math.min(areas.length - 1, Math.round(level)));
      // How far the line between two levels is, in pixels.
      const distance = Math.abs(level - limit) / steep;
      const share = Math.max(0, Math.min(1, 1.2 - distance));
      const area = areas[Math.max(0, Math.min(areas.length - 1, Math.floor(level)))];
      const at = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) image.data[at + c] = area[c] + share * (line[c] - area[c]);
      image.data[at + 3] = 255;
    }
    here = next;
  }
  context.putImageData(image, 0, 0);
  return picture;
}

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
